// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what people copy out of examples/ and the reference configuration of the Collector fits the gateway that is here.
 * Method: the gateway's own reader takes every sealspan.yaml; names that one file gives and another uses are compared;
 * the Collector's filter is asked about every marker of governed spans. That a Collector takes its file, test/e2e shows.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { type Config, ConfigError, readConfig } from '../exporter/node/config/config.ts';
import { GOVERNED_MARKERS, isGoverned } from '../semconv/index.ts';

const read = (path: string): string => readFileSync(join(import.meta.dirname, '..', path), 'utf8');
const work = mkdtempSync(join(tmpdir(), 'sealspan-examples-'));
afterAll(() => rmSync(work, { recursive: true }));

/** The configuration as the gateway would read it. */
function configOf(text: string, env: Readonly<Record<string, string>> = {}): Config {
  const path = join(work, 'sealspan.yaml');
  writeFileSync(path, text);
  return readConfig({ ...env, SEALSPAN_CONFIG: path });
}

/** Environment variables that the configuration knows, out of what it says of a value that can not be. */
function isKnownVariable(name: string): boolean {
  const before = configOf('origin: a').hash;
  try {
    return !Buffer.from(before).equals(configOf('origin: a', { [name]: '12345' }).hash);
  } catch (error) {
    return error instanceof ConfigError;
  }
}

interface Collector {
  readonly extensions: Readonly<Record<string, unknown>>;
  readonly processors: {
    readonly 'filter/audit': Readonly<Record<'trace_conditions' | 'log_conditions', [string]>>;
  };
  readonly exporters: Readonly<Record<string, unknown>>;
  readonly service: {
    readonly extensions: readonly string[];
    readonly pipelines: Readonly<
      Record<string, { readonly receivers: string[]; readonly processors: string[] }>
    >;
  };
}

describe('otel-collector-config.yaml', () => {
  const text = read('otel-collector-config.yaml');
  const config = parse(text) as Collector;

  test('the pieces to lift are numbered 1 to 6', () => {
    expect([...text.matchAll(/^ *# ([0-9])\. /gm)].map(([, number]) => number)).toEqual([
      ...'123456',
    ]);
  });

  test('nothing in it gives up: disk with fsync, retries without end, waiting and not dropping', () => {
    expect(config.extensions['file_storage/audit']).toMatchObject({ fsync: true });
    expect(config.exporters['otlp_grpc/audit']).toMatchObject({
      compression: 'gzip',
      retry_on_failure: { enabled: true, max_elapsed_time: '0s' },
      sending_queue: { storage: 'file_storage/audit', block_on_overflow: true },
    });
    expect(config.service.extensions).toContain('file_storage/audit');
  });

  test('audit leaves the receivers of the backend before anything samples', () => {
    const { 'traces/audit': audit, 'traces/backend': backend } = config.service.pipelines;
    expect(audit?.receivers).toEqual(backend?.receivers);
    expect(audit?.processors).toEqual(['memory_limiter', 'filter/audit']);
  });

  /** What the condition does: OTTL's IsMatch takes RE2, whose syntax these patterns share with ours. */
  const [condition] = config.processors['filter/audit'].trace_conditions;
  const [keys, scope] = [...condition.matchAll(/IsMatch\([^"]*, ("(?:[^"\\]|\\.)*")\)/g)].map(
    ([, literal]) => new RegExp(JSON.parse(literal ?? '') as string),
  );
  const passes = (scopeName: string, attributes: Readonly<Record<string, unknown>>): boolean =>
    keys!.test(JSON.stringify(Object.keys(attributes))) || scope!.test(scopeName);

  test('the filter drops what no convention names', () => {
    expect(passes('http', { 'http.route': '/', 'url.path': '/gen_ai.x', mail: 1 })).toBe(false);
  });

  for (const { convention, scope: inScope, attribute } of GOVERNED_MARKERS) {
    test(`the filter lets through ${convention}: ${inScope ?? ''} ${attribute ?? ''}`, () => {
      const scopeName = inScope?.replace('*', 'x') ?? 'any';
      const attributes = attribute === undefined ? {} : { [attribute.replace('*', 'x')]: 1 };
      expect(isGoverned({ scopeName, attributes })).toBe(true);
      expect(passes(scopeName, attributes)).toBe(true);
    });
  }

  test('the filter lets through whatever is governed', () => {
    const part = fc.constantFrom(
      ...[
        'aigov.',
        'gen_ai.',
        'mcp.',
        'llm.',
        'openinference.span.kind',
        'traceloop.',
        'span.kind',
      ],
      ...[
        'entity.input',
        'ai.',
        'operationId',
        'langfuse.',
        'observation.type',
        'x',
        '"',
        ',',
        '.',
      ],
    );
    const key = fc.array(part, { maxLength: 3 }).map((parts) => parts.join(''));
    const scopes = fc.constantFrom(
      'sealspan',
      'sealspanx',
      '@traceloop/x',
      'langfuse-sdk',
      'ai',
      'x',
    );
    fc.assert(
      fc.property(scopes, fc.array(key, { maxLength: 3 }), (scopeName, names) => {
        const attributes = Object.fromEntries(names.map((name) => [name, 1]));
        return !isGoverned({ scopeName, attributes }) || passes(scopeName, attributes);
      }),
    );
  });
});

test('examples/collector: the gateway keeps off the ports of the Collector', () => {
  const { gateway } = configOf(read('examples/collector/sealspan.yaml'));
  expect(gateway).toMatchObject({
    source: 'collector',
    filter: 'governed',
    grpc: { listen: 'localhost:14317' },
    http: { listen: 'localhost:14318' },
    admin: { listen: 'localhost:14320' },
  });
});

describe('examples/systemd', () => {
  const unit = read('examples/systemd/sealspan-gateway.service');

  test('the gateway takes its configuration', () => {
    const { gateway } = configOf(read('examples/systemd/sealspan.yaml'));
    expect(gateway).toMatchObject({ source: 'collector', grpc: { listen: 'localhost:14317' } });
    expect(unit).toContain('sealspan gateway --config /etc/sealspan/sealspan.yaml');
  });

  test('every variable that the unit sets is one that the configuration knows', () => {
    const names = [...unit.matchAll(/\b(SEALSPAN_[A-Z_]+)=/g)].map(([, name]) => name!);
    expect(names.sort()).toEqual([
      'SEALSPAN_DIR',
      'SEALSPAN_INSTANCE',
      'SEALSPAN_KEY_FILE',
      'SEALSPAN_ORIGIN',
    ]);
    expect(names.filter((name) => !isKnownVariable(name))).toEqual([]);
    expect(isKnownVariable('SEALSPAN_NO_SUCH_SETTING')).toBe(false);
  });
});

test.each(['agent', 'chat', 'collector', 'loan-scorer', 'quickstart', 'rag'])(
  'examples/%s: sealspan takes its configuration',
  (name) => {
    const { originBase, originIsChosen } = configOf(read(`examples/${name}/sealspan.yaml`));
    expect([originBase.length > 0, originIsChosen]).toEqual([true, true]);
  },
);

interface Named {
  readonly name: string;
}
interface Container extends Named {
  readonly args?: readonly string[];
  readonly env: readonly Named[];
  readonly ports?: readonly (Named & { readonly containerPort: number })[];
  readonly volumeMounts: readonly (Named & { readonly mountPath: string })[];
  readonly readinessProbe?: unknown;
}
interface Kubernetes {
  readonly kind: string;
  readonly metadata: Named;
  readonly data: Readonly<Record<string, string>>;
  readonly spec: {
    readonly clusterIP: string;
    readonly serviceName: string;
    readonly ports: readonly (Named & { readonly port: number; readonly targetPort: string })[];
    readonly selector: { readonly matchLabels: unknown };
    readonly template: {
      readonly metadata: { readonly labels: unknown };
      readonly spec: {
        readonly containers: readonly [Container];
        readonly initContainers: readonly [Container];
        readonly volumes: readonly (Named & { readonly configMap?: Named })[];
      };
    };
    readonly volumeClaimTemplates: readonly { readonly metadata: Named }[];
  };
}

describe('examples/kubernetes', () => {
  const documents = parseAllDocuments(read('examples/kubernetes/sealspan.yaml'));
  const objects = documents.map((document) => document.toJS() as Kubernetes);
  const one = (kind: string): Kubernetes => objects.find((object) => object.kind === kind)!;
  const set = one('StatefulSet').spec;
  const pod = set.template.spec;
  const [gateway] = pod.containers;

  test('it is well-formed, and these objects', () => {
    expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
    expect(objects.map(({ kind }) => kind)).toEqual([
      'ConfigMap',
      'Service',
      'PodDisruptionBudget',
      'StatefulSet',
    ]);
  });

  test('the gateway takes the configuration, and names its log after the pod', () => {
    const text = one('ConfigMap').data['sealspan.yaml']!;
    const config = configOf(text, { SEALSPAN_INSTANCE: 'sealspan-0' });
    expect([config.originBase, config.instance]).toEqual(['payments/prod', 'sealspan-0']);
    expect(gateway.env.map(({ name }) => name)).toEqual(['SEALSPAN_INSTANCE', 'SEALSPAN_KEY_FILE']);
    const ports = gateway.ports!.map(({ containerPort }) => `0.0.0.0:${containerPort}`);
    const { grpc, http, admin } = config.gateway!;
    const listen = [grpc, http, admin].map((given) => (given === 'off' ? given : given.listen));
    expect(ports).toEqual(listen);
    // Without TLS this very configuration must not open: it listens beyond the machine.
    expect(() => configOf(text.replace(/^ {2}tls:\n(?: {4}.*\n)*/m, ''))).toThrow(ConfigError);
  });

  test('what one object names, another has', () => {
    const { spec: service, metadata } = one('Service');
    expect(set.serviceName).toBe(metadata.name);
    expect(service.clusterIP).toBe('None');
    expect(service.selector).toEqual(set.template.metadata.labels);
    expect(set.selector.matchLabels).toEqual(set.template.metadata.labels);
    expect(service.ports.map(({ targetPort }) => targetPort)).toEqual(
      gateway.ports!.map(({ name }) => name),
    );
    expect(pod.volumes.find(({ configMap }) => configMap)?.configMap?.name).toBe(
      one('ConfigMap').metadata.name,
    );
    const volumes = new Set([
      ...pod.volumes.map(({ name }) => name),
      ...set.volumeClaimTemplates.map(({ metadata: { name } }) => name),
    ]);
    const mounts = [...pod.initContainers, ...pod.containers].flatMap((from) => from.volumeMounts);
    expect(new Set(mounts.map(({ name }) => name))).toEqual(volumes);
    expect(gateway.readinessProbe).toMatchObject({ httpGet: { path: '/readyz', port: 'admin' } });
  });

  test('log and archive are on volumes, the configuration where the command looks for it', () => {
    const paths = gateway.volumeMounts.map(({ mountPath }) => mountPath);
    const config = configOf(one('ConfigMap').data['sealspan.yaml']!);
    for (const dir of [config.dir, config.archiveDirectory!]) {
      expect(paths.some((path) => dir === path || dir.startsWith(`${path}/`))).toBe(true);
    }
    expect(gateway.args).toEqual(['gateway', '--config', '/etc/sealspan/config/sealspan.yaml']);
    expect(paths).toContain('/etc/sealspan/config');
  });
});
