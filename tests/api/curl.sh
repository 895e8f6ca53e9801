#!/usr/bin/env bash
# MCP as people try it out: one curl line, no handshake, whatever `Accept` they think of. Called by run.sh.
set -uo pipefail

# check NAME EXPECTED COMMAND…: whether what the command says holds what is expected.
check() {
    local name=$1 expected=$2 said
    shift 2
    said=$("$@" 2>&1)
    case $said in
        *"$expected"*) echo "ok $CHECK $name" ;;
        *) echo "FAIL $CHECK $name: no $expected in $(head -c 300 <<<"$said" | tr '\n' ' ')" ;;
    esac
}
mcp() {
    local accept=$1 body=$2
    shift 2
    curl --silent --show-error --max-time 20 --header "Accept:$accept" --header "Authorization: Bearer $ALICE" \
        --header 'Content-Type: application/json' --data "$body" "$@" "$URL/mcp"
}

list='{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
call='{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_models","arguments":{}}}'
for accept in '' ' */*' ' application/json' ' application/json, text/event-stream' ' text/event-stream'; do
    check "tools/list, accept:${accept:- nothing}" '"analyze_image"' mcp "$accept" "$list"
    check "tools/call, accept:${accept:- nothing}" '"structuredContent"' mcp "$accept" "$call"
done
check 'a message that is cut' '"code":-32700' mcp ' */*' '{"jsonrpc":'
check 'no key' 'UNAUTHENTICATED' curl --silent --data "$list" --header 'Content-Type: application/json' "$URL/mcp"
