// What both TypeScript clients check. `session` is { version, callTool(name, args, options), close() },
// and `asking(client)`.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export const { BINARY, CONFIG, URL: url, TRANSPORT, ERA, CHECK, RECEIPT, FOLDER } = process.env;
export const isHttp = TRANSPORT === 'http';
export const info = { name: 'visiongate-check', version: '1.0.0' };

const image = isHttp ? `data:image/png;base64,${readFileSync(RECEIPT, 'base64')}` : RECEIPT;
const ocr = { image, task: 'ocr' };
const slow = { ...ocr, model: 'slow', cache: 'bypass' };
const alive = `${FOLDER}/slow.alive`;

const checks = {
    async protocol({ version }) {
        assert.equal(version, ERA === 'legacy' ? '2025-11-25' : '2026-07-28');
    },
    async tools_list({ listTools }) {
        const { tools } = await listTools();
        const names = ['analyze_batch', 'analyze_image', 'compare_models', 'list_models', 'vision_chat'];
        assert.deepEqual(tools.map((tool) => tool.name).sort(), names);
        const size = Buffer.byteLength(JSON.stringify({ tools }));
        assert.ok(size < 6144, `${size} bytes`);
    },
    async list_models({ callTool }) {
        const { isError, structuredContent } = await callTool('list_models', {});
        assert.ok(!isError && structuredContent.providers.some((provider) => provider.name === 'local'));
    },
    async analyze_image({ callTool }) {
        expectTotal(await callTool('analyze_image', ocr));
    },
    async compare_models({ callTool }) {
        const { isError, structuredContent } = await callTool('compare_models', { ...ocr, models: ['local', 'chat'] });
        assert.ok(!isError, JSON.stringify(structuredContent));
        assert.ok(structuredContent.answers.every((answer) => answer.detected_text.includes('25.41')));
        assert.equal(structuredContent.agreement.pairs.length, 1);
    },
    async analyze_batch({ callTool }) {
        const items = [{ image }, { image: '/nonexistent.png' }];
        const { structuredContent } = await callTool('analyze_batch', { items, task: 'ocr', model: 'local' });
        assert.deepEqual([structuredContent.succeeded, structuredContent.failed], [1, 1]);
    },
    async vision_chat({ callTool }) {
        const content = [{ type: 'text', text: 'The total?' }, { type: 'image_url', image_url: image }];
        const messages = [{ role: 'user', content }];
        const { structuredContent } = await callTool('vision_chat', { messages, model: 'chat' });
        assert.match(structuredContent.text, /25\.41/);
        assert.equal(structuredContent.finish_reason, 'stop');
    },
    async prompts({ listPrompts, getPrompt }) {
        const { prompts } = await listPrompts();
        assert.ok(prompts.some((prompt) => prompt.name === 'invoice'));
        for (const { name } of prompts) {
            const values = { image: '/a.png', other_image: '/b.png', models: 'local,chat' };
            const { messages } = await getPrompt({ name, arguments: values });
            assert.match(messages[0].content.text, /^Call (analyze_image|compare_models) with image "\/a.png"/);
        }
    },
    async resources({ listResources, listTemplates, readResource }) {
        const { resources } = await listResources();
        assert.deepEqual(resources.map((resource) => resource.uri), ['vision://models', 'vision://health']);
        for (const uri of [...resources.map((resource) => resource.uri), 'vision://models/local']) {
            const { contents } = await readResource({ uri });
            assert.ok(JSON.parse(contents[0].text));
        }
        const { resourceTemplates } = await listTemplates();
        assert.equal(resourceTemplates.length, 2);
        await assert.rejects(readResource({ uri: 'vision://models/nobody' }));
    },
    async completions({ complete }) {
        const argument = { name: 'model', value: 'cha' };
        const { completion } = await complete({ ref: { type: 'ref/prompt', name: 'describe' }, argument });
        assert.deepEqual(completion.values, ['chat', 'chat/m']);
    },
    async failing_call({ callTool }) {
        const { isError, structuredContent } = await callTool('analyze_image', { image: '/nonexistent.png' });
        assert.ok(isError && structuredContent.error.code, JSON.stringify(structuredContent));
    },
    async path_refused({ callTool }) {
        const { isError, structuredContent } = await callTool('analyze_image', { image: RECEIPT, task: 'ocr' });
        assert.ok(isError);
        assert.equal(structuredContent.error.code, 'UNSAFE_PATH');
    },
    async progress({ callTool }) {
        const signs = [];
        expectTotal(await callTool('analyze_image', slow, { onprogress: ({ progress }) => signs.push(progress) }));
        assert.ok(signs.length >= 2 && signs.every((sign, n) => n === 0 || sign > signs[n - 1]), `progress ${signs}`);
    },
    async cancel({ callTool }) {
        rmSync(alive, { force: true });
        const controller = new AbortController();
        const call = callTool('analyze_image', slow, { signal: controller.signal });
        const refused = assert.rejects(call);
        while (!existsSync(alive)) await sleep(50);
        controller.abort('no longer needed');
        await refused;
        await sleep(1000);
        rmSync(alive);
        await sleep(600);
        assert.ok(!existsSync(alive), 'the work went on');
        assert.ok(!(await callTool('list_models', {})).isError);
    },
};

// What both clients are asked in the same words.
export const asking = (client) => ({
    listTools: () => client.listTools(),
    listPrompts: () => client.listPrompts(),
    getPrompt: (params) => client.getPrompt(params),
    listResources: () => client.listResources(),
    listTemplates: () => client.listResourceTemplates(),
    readResource: (params) => client.readResource(params),
    complete: (params) => client.complete(params),
});

function expectTotal({ isError, content, structuredContent }) {
    assert.ok(!isError, content[0].text);
    assert.match(content[0].text, /25\.41/);
    assert.match(structuredContent.detected_text, /25\.41/);
}

export async function run(session) {
    for (const [name, check] of Object.entries(checks)) {
        if (name === 'path_refused' && !isHttp) continue;
        // Over HTTP, the old era has no session here that a cancellation could refer to.
        if (name === 'cancel' && isHttp && ERA === 'legacy') continue;
        try {
            await Promise.race([check(session), sleep(20_000).then(() => assert.fail('no end within 20 s'))]);
            console.log(`ok ${CHECK} ${name}`);
        } catch (failure) {
            console.log(`FAIL ${CHECK} ${name}: ${String(failure.message).replace(/\s+/g, ' ').slice(0, 300)}`);
        }
    }
    await session.close();
    process.exit(0);
}
