// The TypeScript SDK 1.x. Called by run.sh.

import { createRequire } from 'node:module';
import { BINARY, CONFIG, asking, info, isHttp, run, url } from './checks.mjs';

const require = createRequire(process.env.MODULES);
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = require('@modelcontextprotocol/sdk/client/stdio.js');
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js');

const transport = isHttp
    ? new StreamableHTTPClientTransport(new URL(url))
    : new StdioClientTransport({ command: BINARY, args: ['--config', CONFIG, 'mcp'] });

// This client keeps the version to itself, but tells its transport.
let version;
const tell = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (negotiated) => {
    version = negotiated;
    tell?.(negotiated);
};

const client = new Client(info);
await client.connect(transport);
await run({
    version,
    ...asking(client),
    callTool: (name, args, options) => client.callTool({ name, arguments: args }, undefined, options),
    close: () => client.close(),
});
