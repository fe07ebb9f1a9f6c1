// SPDX-License-Identifier: Apache-2.0
// Goal: what a person may write means what it says, and what they may not is named by place, what was found and what was
// expected, without a credential in the message. Method: tables of files, variables and options.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  type Config,
  ConfigError,
  type ConfigInput,
  readConfig,
} from '../exporter/node/config/config.ts';
import { generateKeyPem } from '../exporter/node/system/keys.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-config-'));
afterAll(() => rmSync(home, { recursive: true }));
const FILE = join(home, 'sealspan.yaml');

type Env = Readonly<Record<string, string | undefined>>;

function read(yaml: string, env: Env = {}, options: ConfigInput = {}): Config {
  writeFileSync(FILE, yaml);
  return readConfig({ SEALSPAN_CONFIG: FILE, ...env }, options);
}

/** The message of the ConfigError, the file's path shortened to `F`. */
function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigError) return error.message.replaceAll(FILE, 'F');
    throw error;
  }
  return 'accepted';
}

describe('without a word', () => {
  test('everything has a default', () => {
    const { hash, ...config } = readConfig({});
    expect(hash.length).toBe(32);
    expect(config).toEqual({
      dir: resolve('./sealspan-log'),
      instance: undefined,
      originBase: `service/${hostname().toLowerCase()}`,
      originIsChosen: false,
      mode: 'group',
      groupCommitMs: 10,
      checkpointMs: 1000,
      heartbeatMs: 60_000,
      forwardMs: 1000,
      keyPem: undefined,
      forwarding: 'through',
      backend: undefined,
      archiveDirectory: resolve('./sealspan-log/archive'),
      archiveS3: undefined,
      retention: {
        className: '6-months',
        minimumDays: 184,
        maximumDays: 276,
        localDays: undefined,
      },
      segment: { byteLengthMax: 16 * 1024 * 1024, ageMsMax: 10_000 },
      content: undefined,
      governance: undefined,
      governanceMap: {},
      pendingByteLengthMax: 64 * 1024 * 1024,
      failOpen: false,
    });
  });

  test.each<readonly [Env, string]>([
    [{ OTEL_SERVICE_NAME: 'Claims API' }, 'claims-api'],
    [{ OTEL_RESOURCE_ATTRIBUTES: 'a=b,service.name=claims' }, 'claims'],
    [{ OTEL_SERVICE_NAME: 'own', OTEL_RESOURCE_ATTRIBUTES: 'service.name=other' }, 'own'],
    [{ OTEL_SERVICE_NAME: '..//..' }, 'service'],
    [{ OTEL_SERVICE_NAME: 'Ünder/weg' }, 'nder-weg'],
  ])('the origin begins with the service: %j', (env, part) => {
    expect(readConfig(env).originBase).toBe(`${part}/${hostname().toLowerCase()}`);
  });
});

describe('who wins', () => {
  test('options over variables over the file over defaults', () => {
    const yaml = 'heartbeatMs: 1000\ngroupCommitMs: 20\nmode: sync\n';
    const env = { SEALSPAN_HEARTBEAT_MS: '2000', SEALSPAN_GROUP_COMMIT_MS: '30' };
    const { heartbeatMs, groupCommitMs, mode, checkpointMs } = read(yaml, env, {
      heartbeatMs: 3000,
      groupCommitMs: undefined,
    });
    expect({ heartbeatMs, groupCommitMs, mode, checkpointMs }).toEqual({
      heartbeatMs: 3000,
      groupCommitMs: 30,
      mode: 'sync',
      checkpointMs: 1000,
    });
  });

  test('each variable sets its setting, and an empty one none', () => {
    const config = readConfig({
      SEALSPAN_DIR: home,
      SEALSPAN_ORIGIN: 'a.example/prod',
      SEALSPAN_INSTANCE: 'blue-1',
      SEALSPAN_MODE: 'sync',
      SEALSPAN_GROUP_COMMIT_MS: '0',
      SEALSPAN_HEARTBEAT_MS: '100',
      SEALSPAN_FORWARDING: 'off',
      SEALSPAN_CONTENT: 'omit',
      SEALSPAN_FAIL_OPEN: 'true',
      SEALSPAN_KEY_FILE: '',
    });
    expect(config).toMatchObject({
      dir: home,
      originBase: 'a.example/prod',
      originIsChosen: true,
      instance: 'blue-1',
      mode: 'sync',
      groupCommitMs: 0,
      heartbeatMs: 100,
      forwarding: 'off',
      content: 'omit',
      failOpen: true,
      archiveDirectory: join(home, 'archive'),
    });
  });

  test('a backend means direct, unless somebody says otherwise', () => {
    const yaml = 'backend: { endpoint: "http://localhost:4318" }\n';
    expect(read(yaml).forwarding).toBe('direct');
    expect(read(yaml).backend).toEqual({
      protocol: 'http/protobuf',
      endpoint: 'http://localhost:4318',
    });
    expect(read(`${yaml}forwarding: through\n`)).toMatchObject({
      forwarding: 'through',
      backend: undefined,
    });
  });

  test('the standard variables say where to, and never whether', () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'https://o.example' };
    expect(readConfig(env)).toMatchObject({ forwarding: 'through', backend: undefined });
    expect(readConfig({ ...env, SEALSPAN_FORWARDING: 'direct' }).backend).toMatchObject({
      protocol: 'http/protobuf',
      endpoint: 'https://o.example',
    });
  });

  test('the archive is beside the log, elsewhere, or off', () => {
    expect(read('archive: { directory: /far }').archiveDirectory).toBe('/far');
    expect(read('archive: off').archiveDirectory).toBe(undefined);
    expect(read('archive: off').archiveS3).toBe(undefined);
  });

  test('or in a bucket, under a lock for as long as the retention says', () => {
    const { archiveDirectory, archiveS3 } = read('archive: { s3: { bucket: records } }');
    expect(archiveDirectory).toBe(undefined);
    expect(archiveS3).toEqual({
      bucket: 'records',
      prefix: '',
      region: undefined,
      endpoint: undefined,
      pathStyle: false,
      mode: 'COMPLIANCE',
      retention: {
        className: '6-months',
        minimumDays: 184,
        maximumDays: 276,
        localDays: undefined,
      },
    });
    const yaml = [
      'retention: { class: 10-years, localDays: 7 }',
      'archive:',
      '  s3:',
      '    bucket: records',
      '    prefix: team/logs',
      '    region: eu-central-1',
      '    endpoint: "http://localhost:9000"',
      '    pathStyle: true',
      '    mode: governance',
    ].join('\n');
    expect(read(yaml).archiveS3).toEqual({
      bucket: 'records',
      prefix: 'team/logs',
      region: 'eu-central-1',
      endpoint: 'http://localhost:9000',
      pathStyle: true,
      mode: 'GOVERNANCE',
      retention: { className: '10-years', minimumDays: 3653, maximumDays: 3745, localDays: 7 },
    });
  });

  test.each([
    ['class: 3-years', { className: '3-years', minimumDays: 1096, maximumDays: 1188 }],
    ['minimumDays: 400', { className: '6-months', minimumDays: 400, maximumDays: 400 }],
    ['maximumDays: 184', { className: '6-months', minimumDays: 184, maximumDays: 184 }],
    [
      'class: trials, minimumDays: 30',
      { className: 'trials', minimumDays: 30, maximumDays: undefined },
    ],
  ])('retention %j', (yaml, retention) => {
    expect(read(`retention: { ${yaml} }`).retention).toEqual({
      ...retention,
      localDays: undefined,
    });
  });
});

describe('values from the environment in a file', () => {
  const env = { HOST: 'h.example', PORT: '4318', EMPTY: '', WORD: 'true', TOKEN: '12345' };
  const endpointOf = (value: string): unknown =>
    read(`backend:\n  endpoint: ${value}\n`, env).backend?.endpoint;

  test.each([
    ['${HOST}', 'h.example'],
    ['${env:HOST}', 'h.example'],
    ['"${HOST}:${PORT}"', 'h.example:4318'],
    ['http://${HOST}:${PORT}/x', 'http://h.example:4318/x'],
    ['${MISSING:-http://localhost:1}', 'http://localhost:1'],
    ['${EMPTY:-http://localhost:1}', 'http://localhost:1'],
    ['${HOST:-other}', 'h.example'],
    ['"a${MISSING:-}b"', 'ab'],
    ['$${HOST}', '${HOST}'],
    ['costs-$5', 'costs-$5'],
    // Quoted is text, whatever it looks like.
    ['"${TOKEN}"', '12345'],
    ["'${WORD}'", 'true'],
  ])('%s is %s', (value, expected) => {
    expect(endpointOf(value)).toBe(expected);
  });

  test('a plain scalar has the type that its text would have had in place', () => {
    const config = read(
      'heartbeatMs: ${PORT}\nfailOpen: ${WORD}\ncheckpointMs: ${EMPTY:-}\nmode: ${MODE:-sync}\n',
      env,
    );
    expect(config).toMatchObject({
      heartbeatMs: 4318,
      failOpen: true,
      checkpointMs: 1000,
      mode: 'sync',
    });
  });

  test.each([
    ['${MISSING}', 'MISSING is not set'],
    ['${env:MISSING}', 'MISSING is not set'],
    ['${EMPTY}', 'EMPTY is empty'],
    ['"a${MISSING}b"', 'MISSING is not set'],
  ])('%s is refused: there is no such value, and no default', (value, what) => {
    const reference = /\$\{[^}]*\}/.exec(value)?.[0];
    expect(refusal(() => read(`mode: sync\nbackend:\n  endpoint: ${value}\n`, env))).toBe(
      `F:3: ${what}, expected a value for ${reference}; \${${what.split(' ')[0]}:-default} says what holds without one`,
    );
  });

  test('keys are left as they are', () => {
    expect(refusal(() => read('${HOST}: 1\n', env))).toMatch(/^F:1: \$\{HOST\}: found 1, unknown/);
  });
});

describe('what can not be, is refused with place, found and expected', () => {
  const backend = 'backend:\n  endpoint: http://localhost:4318\n';

  test.each<readonly [yaml: string, message: string]>([
    [
      'mode: fast',
      'F:1: mode: found "fast", Invalid option: expected one of "group"|"sync"|"remote"',
    ],
    [
      '# first\n\nheartbeatMs: soon',
      'F:3: heartbeatMs: found "soon", Invalid input: expected number, received string',
    ],
    ['heartbeatMs: 5', 'F:1: heartbeatMs: found 5, Too small: expected number to be >=100'],
    ['groupCommitMs: -1', 'F:1: groupCommitMs: found -1, Too small: expected number to be >=0'],
    [
      'groupCommitMs: 1.5',
      'F:1: groupCommitMs: found 1.5, Invalid input: expected int, received number',
    ],
    ['dir: ""', 'F:1: dir: found "", Too small: expected string to have >=1 characters'],
    ['dir: [a]', 'F:1: dir: found a list, Invalid input: expected string, received array'],
    ['heartbeat: 5', `F:1: heartbeat: found 5, unknown: heartbeat; known: dir, ...`],
    ['a: 1\nb: 2', `F:1: a: found 1, unknown: a, b; known: dir, ...`],
    [
      'origin: Claims/Prod',
      'F:1: origin: found "Claims/Prod", expected lower case letters, digits, dots, dashes, underscores and slashes',
    ],
    [
      'origin: a/../b',
      'F:1: origin: found "a/../b", expected no part of it to be empty or to begin with a dot',
    ],
    [
      'instance: a/b',
      'F:1: instance: found "a/b", expected lower case letters, digits, dashes and underscores',
    ],
    [
      `${backend}  protocol: udp`,
      'F:3: backend.protocol: found "udp", Invalid option: expected one of "grpc"|"http/protobuf"',
    ],
    [
      'backend:\n  protocol: grpc',
      'F:2: backend.endpoint: found nothing, Invalid input: expected string, received undefined',
    ],
    ['backend: yes please', 'F:1: backend: found "yes please", expected settings'],
    [
      `${backend}  url: x`,
      'F:3: backend.url: found "x", unknown: url; known: protocol, endpoint, headers, compression, timeoutMs, tls',
    ],
    ['archive: on', 'F:1: archive: found "on", expected off, or settings with a directory or s3'],
    [
      'archive: { directory: /a, s3: { bucket: abc } }',
      'F:1: archive: found settings, expected off, or settings with a directory or s3, and not both',
    ],
    ['archive: { dir: /a }', 'F:1: archive.dir: found "/a", unknown: dir; known: directory, s3'],
    [
      'archive:\n  s3:\n    bucket: Records',
      'F:3: archive.s3.bucket: found "Records", expected the name of a bucket: 3 to 63 lower case letters, digits, dots, dashes',
    ],
    [
      'archive:\n  s3:\n    bucket: records\n    prefix: /a',
      'F:4: archive.s3.prefix: found "/a", expected lower case letters, digits, dots, dashes, underscores, single slashes in between',
    ],
    [
      'archive:\n  s3:\n    bucket: records\n    endpoint: localhost',
      'F:4: archive.s3.endpoint: found "localhost", expected a URL, http:// or https://',
    ],
    [
      'archive:\n  s3:\n    bucket: records\n    mode: none',
      'F:4: archive.s3.mode: found "none", Invalid option: expected one of "compliance"|"governance"',
    ],
    [
      'archive:\n  s3:\n    bucket: records\n    path: a',
      'F:4: archive.s3.path: found "a", unknown: path; known: bucket, prefix, region, endpoint, pathStyle, mode',
    ],
    [
      'retention: { class: 5-years }',
      'F:1: retention.class: found "5-years", expected one of 6-months, 3-years, 6-years, 7-years, 10-years, or minimumDays for a class of your own',
    ],
    [
      'retention: { minimumDays: 30 }',
      'F:1: retention.minimumDays: found 30, expected at least 184, as the class 6-months has it',
    ],
    [
      'retention: { class: 3-years, maximumDays: 1000 }',
      'F:1: retention.maximumDays: found 1000, expected at least minimumDays, 1096',
    ],
    [
      'archive: off\nretention: { localDays: 7 }',
      'retention.localDays: found 7, expected none without an `archive`: nothing is removed that no archive has',
    ],
    [
      'segment: { ageMsMax: 1 }',
      'F:1: segment.ageMsMax: found 1, Too small: expected number to be >=100',
    ],
    [
      'governance:\n  map:\n    enduser.id: aigov.actor.name',
      'F:3: governance.map.enduser.id: found "aigov.actor.name", expected an attribute that people state, such as aigov.actor.id, or settings with `to` and `pseudonymise`',
    ],
    ['governance:\n  system:\n    id: ""', 'F:3: governance.system.id: found "", is empty'],
    [
      'mode: fast\nheartbeatMs: 5',
      'F:1: mode: found "fast", Invalid option: expected one of "group"|"sync"|"remote"\n' +
        'F:2: heartbeatMs: found 5, Too small: expected number to be >=100',
    ],
    ['- a', 'F:1: found a list, expected settings'],
    ['text', 'F:1: found string, expected settings'],
    ['mode: sync\nmode: group', 'F:2: Map keys must be unique at line 2, column 1:'],
    [
      'mode: {',
      'F:1: Flow map in block collection must be sufficiently indented and end with a } at line 1, column 8:',
    ],
    ['dir: ${HO', 'F:1: found ${HO, expected ${VAR} or ${VAR:-default}'],
    ['x: 1\ndir: a-${1A}-b', 'F:2: found ${1A}, expected ${VAR} or ${VAR:-default}'],
    [
      'keyFile: /nowhere/key.pem',
      "keyFile: ENOENT: no such file or directory, open '/nowhere/key.pem'",
    ],
  ])('%j', (yaml, message) => {
    // The list of all settings is not repeated here; which they are, the first test of this file says.
    expect(refusal(() => read(yaml)).replace(/known: dir, .*/, 'known: dir, ...')).toBe(message);
  });

  test.each<readonly [Env, string]>([
    [
      { SEALSPAN_MODE: 'fast' },
      'SEALSPAN_MODE: mode: found "fast", Invalid option: expected one of "group"|"sync"|"remote"',
    ],
    [
      { SEALSPAN_HEARTBEAT_MS: 'soon' },
      'SEALSPAN_HEARTBEAT_MS: heartbeatMs: found "soon", Invalid input: expected number, received string',
    ],
    [
      { SEALSPAN_FAIL_OPEN: 'yes' },
      'SEALSPAN_FAIL_OPEN: failOpen: found "yes", Invalid input: expected boolean, received string',
    ],
    [
      { SEALSPAN_FORWARDING: 'direct', OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' },
      'OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" is not known here; use grpc or http/protobuf',
    ],
    [
      { SEALSPAN_CONFIG: '/nowhere.yaml' },
      "/nowhere.yaml: ENOENT: no such file or directory, open '/nowhere.yaml'",
    ],
  ])('%j', (env, message) => {
    expect(refusal(() => readConfig(env))).toBe(message);
  });

  test('an option names itself as that', () => {
    expect(refusal(() => readConfig({}, { checkpointMs: 0 }))).toBe(
      'options: checkpointMs: found 0, Too small: expected number to be >=1',
    );
  });

  test('a setting of text stays text: a variable of digits is a name too', () => {
    expect(readConfig({ SEALSPAN_INSTANCE: '7' }).instance).toBe('7');
  });
});

describe('an archive inside a log directory', () => {
  test.each([
    [{ dir: 'log', archive: { directory: 'log/0' } }, 'log/0'],
    [{ dir: 'log', archive: { directory: 'log/12/a' } }, 'log/12'],
    [{ dir: 'log', instance: 'a', archive: { directory: './log/a/b' } }, 'log/a'],
    [{ dir: 'log', instance: 'a', archive: { directory: 'log/a-2' } }, 'log/a-2'],
  ])('%j is refused', (input, log) => {
    expect(() => readConfig({}, input)).toThrow(
      `archive.directory: found "${input.archive.directory}", expected a directory outside of the log directory ${resolve(log)}`,
    );
  });

  test('an instance of the name that the archive has is refused', () => {
    expect(() => readConfig({}, { dir: 'log', instance: 'archive' })).toThrow(
      `instance: found "archive", which is also the directory of the archive (${resolve('log/archive')})`,
    );
    for (const archive of ['off', { directory: 'else' }, { directory: 'log/b' }] as const) {
      expect(readConfig({}, { dir: 'log', instance: 'archive', archive }).instance).toBe('archive');
    }
  });
});

describe('secrets', () => {
  const SECRET = 'hunter2-not-to-be-shown';

  test.each([
    [
      'a header that is no text',
      'backend:\n  endpoint: http://a\n  headers:\n    authorization: 4711471147114711\n',
    ],
    [
      'a typing error beside them',
      `heartbeet: 1\nbackend:\n  endpoint: http://a\n  headers:\n    authorization: ${SECRET}\n`,
    ],
    [
      'a typing error next to them',
      `backend:\n  endpoint: http://a\n  haeders: 1\n  headers:\n    authorization: ${SECRET}\n`,
    ],
    ['headers as a list', `backend:\n  endpoint: http://a\n  headers:\n    - ${SECRET}\n`],
    [
      'headers misspelt',
      `backend:\n  endpoint: http://a\n  haeders:\n    authorization: ${SECRET}\n`,
    ],
    ['headers as text', `backend:\n  endpoint: http://a\n  headers: ${SECRET}\n`],
  ])('of headers are in no message: %s', (_name, yaml) => {
    const message = refusal(() => read(yaml));
    expect(message).toMatch(/^F:\d: \S+: found /);
    expect(message).not.toMatch(/hunter2|4711/);
  });

  test('the digest of the configuration tells settings apart, not their order, and holds no header', () => {
    const hashOf = (yaml: string): string => Buffer.from(read(yaml).hash).toString('hex');
    const yaml = 'mode: sync\nheartbeatMs: 1000\n';
    const same = hashOf(yaml);
    expect(hashOf('heartbeatMs: 1000\nmode: sync\n')).toBe(same);
    expect(hashOf('heartbeatMs: 1001\nmode: sync\n')).not.toBe(same);
    const backend = `${yaml}backend:\n  endpoint: http://a\n`;
    expect(hashOf(backend)).not.toBe(same);
    expect(hashOf(`${backend}  headers: { a: ${SECRET} }\n`)).toBe(hashOf(backend));
  });

  test('a key file that others can read is refused', () => {
    const path = join(home, 'key.pem');
    const pem = generateKeyPem();
    writeFileSync(path, pem);
    for (const mode of [0o644, 0o640, 0o604, 0o660, 0o777]) {
      chmodSync(path, mode);
      expect(refusal(() => readConfig({ SEALSPAN_KEY_FILE: path }))).toBe(
        `keyFile: ${path} can be read by others (mode ${mode.toString(8)}); run: chmod 600 ${path}`,
      );
    }
    chmodSync(path, 0o600);
    expect(readConfig({ SEALSPAN_KEY_FILE: path }).keyPem).toBe(pem);
    expect(readConfig({ SEALSPAN_KEY_FILE: path, SEALSPAN_KEY: 'other' }).keyPem).toBe(pem);
    expect(readConfig({ SEALSPAN_KEY: 'other' }).keyPem).toBe('other');
  });
});
