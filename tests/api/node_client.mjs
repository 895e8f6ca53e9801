// OpenAI's client for Node. Called by run.sh.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';

const require = createRequire(process.env.MODULES);
const OpenAI = require('openai');
const { zodResponseFormat } = require('openai/helpers/zod');
const { z } = require('zod');

const { ALICE, BOB, CHECK, IMAGE, URL } = process.env;
const uri = (bytes) => `data:image/png;base64,${Buffer.from(bytes, 'latin1').toString('base64')}`;
const image = uri(readFileSync(IMAGE));
const broken = uri('\x89PNG\r\n\x1a\nand no more');

let sent = 0;
const client = (apiKey = ALICE, maxRetries = 0) =>
    new OpenAI({
        baseURL: `${URL}/v1`,
        apiKey,
        maxRetries,
        fetch: (...call) => {
            sent += 1;
            return fetch(...call);
        },
    });
const ask = (text, url = image) => [
    { role: 'user', content: [{ type: 'text', text }, { type: 'image_url', image_url: { url } }] },
];
const complete = ({ text = 'What is this?', url = image, key = ALICE, retries = 1, ...more } = {}) =>
    client(key, retries).chat.completions.create({ model: 'scripted', messages: ask(text, url), ...more });

// A model whose key was refused is left alone for a while, so this is one that nobody else needs.
const trouble = (status) => complete({ text: `fail ${status}`, model: `scripted/${CHECK}-${status}` });

async function fails(kind, status, code, call, times = 1) {
    sent = 0;
    await assert.rejects(call, (error) => {
        assert.equal(error.constructor, kind);
        assert.deepEqual([error.status, error.code], [status, code]);
        assert.equal(sent, times, `${code} was sent ${sent} times`);
        return true;
    });
}

const checks = {
    async chat() {
        const answer = await complete();
        assert.equal(answer.choices[0].message.content, 'Two words.');
        assert.deepEqual([answer.choices[0].finish_reason, answer.usage.total_tokens], ['stop', 15]);
    },
    async stream() {
        let text = '';
        let reason, usage;
        const stream = await complete({ text: `Stream ${CHECK}`, stream: true, stream_options: { include_usage: true } });
        for await (const chunk of stream) {
            text += chunk.choices[0]?.delta.content ?? '';
            reason ??= chunk.choices[0]?.finish_reason;
            usage ??= chunk.usage;
        }
        assert.deepEqual([text, reason, usage.total_tokens], ['Two words.', 'stop', 15]);
    },
    async stream_that_is_left() {
        const stream = await complete({ text: 'Leave', stream: true });
        for await (const _ of stream) break;
    },
    async parse() {
        const format = zodResponseFormat(z.object({ total: z.number() }), 'bill');
        const { completions } = client().chat;
        const answer = await completions.parse({ model: 'scripted', messages: ask('Which total?'), response_format: format });
        assert.deepEqual(answer.choices[0].message.parsed, { total: 25.41 });
    },
    async models() {
        const names = [];
        for await (const model of client().models.list()) names.push(model.id);
        assert(names.includes('scripted/m') && names.includes('local'), names.join());
        assert.equal((await client().models.retrieve('scripted/m')).id, 'scripted/m');
    },
    async errors() {
        await fails(OpenAI.AuthenticationError, 401, 'unauthenticated', () => complete({ key: 'vg_wrong' }));
        await fails(OpenAI.PermissionDeniedError, 403, 'forbidden', () => complete({ key: BOB }));
        await fails(OpenAI.PermissionDeniedError, 403, 'unsafe_path', () => complete({ url: IMAGE }));
        await fails(OpenAI.NotFoundError, 404, 'model_not_found', () => complete({ model: 'nobody' }));
        await fails(OpenAI.NotFoundError, 404, 'model_not_found', () => client().models.retrieve('nobody/at-all'));
        await fails(OpenAI.BadRequestError, 400, 'invalid_input', () => complete({ temperature: 9 }));
        await fails(OpenAI.UnprocessableEntityError, 422, 'image_corrupt', () => complete({ url: broken }));
        await fails(OpenAI.InternalServerError, 502, 'upstream_auth', () => trouble(401));
        await fails(OpenAI.RateLimitError, 429, 'rate_limited', () => trouble(429), 2);
    },
};

for (const [name, check] of Object.entries(checks)) {
    try {
        await check();
        console.log(`ok ${CHECK} ${name}`);
    } catch (failure) {
        console.log(`FAIL ${CHECK} ${name}: ${String(failure).replace(/\s+/g, ' ').slice(0, 400)}`);
    }
}
