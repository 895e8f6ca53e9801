#!/usr/bin/env bash
# The MCP Inspector's command line: one process for each check. Called by run.sh.
set -euo pipefail

export MCP_INSPECTOR_SECRET_STORE=memory MCP_STORAGE_DIR=$FOLDER/storage
if [ "$TRANSPORT" = stdio ]; then
    server='"type": "stdio", "command": "'$BINARY'", "args": ["--config", "'$CONFIG'", "mcp"]'
    image=$RECEIPT
else
    server='"type": "streamable-http", "url": "'$URL'"'
    image="data:image/png;base64,$(base64 <"$RECEIPT" | tr -d '\n')"
fi
echo '{"mcpServers": {"visiongate": {'"$server"', "protocolEra": "'"$ERA"'"}}}' >"$FOLDER/mcp.json"

# check NAME EXPECTATION ARGUMENT…: asks the Inspector, and judges by an expression of JavaScript about its `result`.
check() {
    local name=$1 expectation=$2 problem
    shift 2
    # It ends with 5 when a tool fails, which some checks want; its words are judged instead.
    timeout 30 "$INSPECTOR" --cli --config "$FOLDER/mcp.json" --server visiongate --format json --quiet "$@" \
        >"$FOLDER/answer.json" 2>>"$FOLDER/client.log" || true
    if problem=$(node -e '
        const answer = require("fs").readFileSync(process.argv[1], "utf8");
        const result = answer && JSON.parse(answer).result;
        if (!eval(process.argv[2])) console.log(answer.slice(0, 300) || "no answer"), process.exit(1);
    ' "$FOLDER/answer.json" "$expectation" 2>&1); then
        echo "ok $CHECK $name"
    else
        echo "FAIL $CHECK $name: $(echo "$problem" | tr '\n' ' ')"
    fi
}
call() {
    check "$1" "$2" --method tools/call --tool-name "$3" --tool-args-json "$4"
}

version=2026-07-28
[ "$ERA" != legacy ] || version=2025-11-25
check protocol "result.protocolVersion === '$version'" --method initialize
names=analyze_batch,analyze_image,compare_models,list_models,vision_chat
check tools_list 'result.tools.map(tool => tool.name).sort().join() === "'$names'"
    && Buffer.byteLength(JSON.stringify({tools: result.tools})) < 6144' --method tools/list
call list_models '!result.isError && result.structuredContent.providers.some(provider => provider.name === "local")' \
    list_models '{}'
call analyze_image '!result.isError && result.content[0].text.includes("25.41")
    && result.structuredContent.detected_text.includes("25.41")' \
    analyze_image '{"image": "'"$image"'", "task": "ocr"}'
if [ "$TRANSPORT" = http ]; then
    call path_refused 'result.isError && result.structuredContent.error.code === "UNSAFE_PATH"' \
        analyze_image '{"image": "'"$RECEIPT"'", "task": "ocr"}'
fi
call compare_models '!result.isError && result.structuredContent.answers.every(it => it.detected_text.includes("25.41"))' \
    compare_models '{"image": "'"$image"'", "task": "ocr", "models": ["local", "chat"]}'
call analyze_batch 'result.structuredContent.succeeded === 1 && result.structuredContent.failed === 1' \
    analyze_batch '{"items": [{"image": "'"$image"'"}, {"image": "/x.png"}], "task": "ocr", "model": "local"}'
call vision_chat 'result.structuredContent.text.includes("25.41")' \
    vision_chat '{"messages": [{"role": "user", "content": "The total?"}], "model": "chat"}'
check prompts_list 'result.prompts.some(prompt => prompt.name === "invoice")' --method prompts/list
check prompts_get 'result.messages[0].content.text.includes("analyze_image")' \
    --method prompts/get --prompt-name describe --prompt-args image=/a.png
check resources_list 'result.resources.length === 2' --method resources/list
check resources_templates 'result.resourceTemplates.length === 2' --method resources/templates/list
check resources_read 'JSON.parse(result.contents[0].text).default === "pixtral"' \
    --method resources/read --uri vision://models
call failing_call 'result.isError && result.structuredContent.error.code' analyze_image '{"image": "/nonexistent.png"}'
# Schemas that some client or model would not take end it with 6.
if timeout 30 "$INSPECTOR" --cli --config "$FOLDER/mcp.json" --server visiongate --format json --strict \
    --method tools/list >"$FOLDER/strict.json" 2>"$FOLDER/strict.log"; then
    echo "ok $CHECK strict_schemas"
else
    echo "FAIL $CHECK strict_schemas: $(tr '\n' ' ' <"$FOLDER/strict.log" | cut -c 1-300)"
fi
