// The TypeScript SDK 2.x. Called by run.sh.

import { createRequire } from 'node:module';
import { BINARY, CONFIG, ERA, asking, info, isHttp, run, url } from './checks.mjs';

const require = createRequire(process.env.MODULES);
const { Client, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');
const { StdioClientTransport } = require('@modelcontextprotocol/client/stdio');

const transport = isHttp
    ? new StreamableHTTPClientTransport(new URL(url))
    : new StdioClientTransport({ command: BINARY, args: ['--config', CONFIG, 'mcp'] });

const mode = ERA === 'modern' ? { pin: '2026-07-28' } : ERA;
const client = new Client(info, { versionNegotiation: { mode } });
await client.connect(transport);
await run({
    version: client.getNegotiatedProtocolVersion(),
    ...asking(client),
    callTool: (name, args, options) => client.callTool({ name, arguments: args }, options),
    close: () => client.close(),
});
