// SPDX-License-Identifier: Apache-2.0
/**
 * Every name of the aigov vocabulary, generated from registry/ by scripts/semconv.ts: edit there.
 * A name here says nothing about who sets it: registry/signals.yaml does.
 */

/** Version of the vocabulary, the value of `aigov.schema.version`. */
export const AIGOV_SCHEMA_VERSION = '0.1.0';

/** Version of this vocabulary the span was written with. */
export const ATTR_AIGOV_SCHEMA_VERSION = 'aigov.schema.version';

/** Permanent name of the AI system, as in the register of systems. */
export const ATTR_AIGOV_SYSTEM_ID = 'aigov.system.id';

/** Released version of the AI system, not of the model inside it. */
export const ATTR_AIGOV_SYSTEM_VERSION = 'aigov.system.version';

/** Role of the organisation that runs this process. */
export const ATTR_AIGOV_SYSTEM_ROLE = 'aigov.system.role';
export const AIGOV_SYSTEM_ROLE_VALUE_PROVIDER = 'provider';
export const AIGOV_SYSTEM_ROLE_VALUE_DEPLOYER = 'deployer';
export const AIGOV_SYSTEM_ROLE_VALUE_IMPORTER = 'importer';
export const AIGOV_SYSTEM_ROLE_VALUE_DISTRIBUTOR = 'distributor';
export const AIGOV_SYSTEM_ROLE_VALUES = [
  'provider',
  'deployer',
  'importer',
  'distributor',
] as const;

/** Risk class the organisation has assigned to the system. */
export const ATTR_AIGOV_SYSTEM_RISK_CLASS = 'aigov.system.risk_class';
export const AIGOV_SYSTEM_RISK_CLASS_VALUE_PROHIBITED = 'prohibited';
export const AIGOV_SYSTEM_RISK_CLASS_VALUE_HIGH = 'high';
export const AIGOV_SYSTEM_RISK_CLASS_VALUE_LIMITED = 'limited';
export const AIGOV_SYSTEM_RISK_CLASS_VALUE_MINIMAL = 'minimal';
export const AIGOV_SYSTEM_RISK_CLASS_VALUE_GPAI = 'gpai';
export const AIGOV_SYSTEM_RISK_CLASS_VALUES = [
  'prohibited',
  'high',
  'limited',
  'minimal',
  'gpai',
] as const;

/** Point of Annex III the system falls under. */
export const ATTR_AIGOV_SYSTEM_ANNEX_III_CATEGORY = 'aigov.system.annex_iii_category';

/** Name of this installation of the system. */
export const ATTR_AIGOV_DEPLOYMENT_ID = 'aigov.deployment.id';

/** Jurisdiction whose law the deployment answers to. */
export const ATTR_AIGOV_DEPLOYMENT_JURISDICTION = 'aigov.deployment.jurisdiction';

/** Name of the purpose the invocation serves. */
export const ATTR_AIGOV_PURPOSE_ID = 'aigov.purpose.id';

/** Whether this use lies within the intended purpose of the system. */
export const ATTR_AIGOV_PURPOSE_INTENDED = 'aigov.purpose.intended';

/** Lawful basis for processing personal data in this invocation. */
export const ATTR_AIGOV_LAWFUL_BASIS = 'aigov.lawful_basis';
export const AIGOV_LAWFUL_BASIS_VALUE_CONSENT = 'consent';
export const AIGOV_LAWFUL_BASIS_VALUE_CONTRACT = 'contract';
export const AIGOV_LAWFUL_BASIS_VALUE_LEGAL_OBLIGATION = 'legal_obligation';
export const AIGOV_LAWFUL_BASIS_VALUE_VITAL_INTERESTS = 'vital_interests';
export const AIGOV_LAWFUL_BASIS_VALUE_PUBLIC_TASK = 'public_task';
export const AIGOV_LAWFUL_BASIS_VALUE_LEGITIMATE_INTERESTS = 'legitimate_interests';
export const AIGOV_LAWFUL_BASIS_VALUES = [
  'consent',
  'contract',
  'legal_obligation',
  'vital_interests',
  'public_task',
  'legitimate_interests',
] as const;

/** Categories of data that reach the model. */
export const ATTR_AIGOV_DATA_CATEGORIES = 'aigov.data.categories';

/** Pseudonym of who or what caused the invocation. */
export const ATTR_AIGOV_ACTOR_ID = 'aigov.actor.id';

/** Kind of the actor. */
export const ATTR_AIGOV_ACTOR_TYPE = 'aigov.actor.type';
export const AIGOV_ACTOR_TYPE_VALUE_HUMAN = 'human';
export const AIGOV_ACTOR_TYPE_VALUE_AGENT = 'agent';
export const AIGOV_ACTOR_TYPE_VALUE_SERVICE = 'service';
export const AIGOV_ACTOR_TYPE_VALUES = ['human', 'agent', 'service'] as const;

/** Pseudonyms of everybody on whose behalf the actor acts, the first principal first. */
export const ATTR_AIGOV_DELEGATION_CHAIN = 'aigov.delegation.chain';

/** Pseudonymous reference to the person the invocation is about. */
export const ATTR_AIGOV_SUBJECT_REF = 'aigov.subject.ref';

/** Number of the invocation in its process, counted from 1, set when it starts. */
export const ATTR_AIGOV_SEQUENCE = 'aigov.sequence';

/** Length, in UTF-16 units, behind which the SDK that recorded the span cuts texts; absent where it cuts none. */
export const ATTR_AIGOV_VALUE_LENGTH_LIMIT = 'aigov.value_length_limit';

/** Highest aigov.sequence that the process has given out, this heartbeat's own included. */
export const ATTR_AIGOV_HEARTBEAT_HIGHEST = 'aigov.heartbeat.highest';

/** Numbers given out of invocations that still run, as ascending ranges; empty without any. */
export const ATTR_AIGOV_HEARTBEAT_OPEN = 'aigov.heartbeat.open';

/** Governed spans that the process has started, heartbeats included. */
export const ATTR_AIGOV_HEARTBEAT_STARTED = 'aigov.heartbeat.started';

/** Governed spans that have ended of those started. */
export const ATTR_AIGOV_HEARTBEAT_ENDED = 'aigov.heartbeat.ended';

/** When the next heartbeat comes at the latest, in milliseconds. */
export const ATTR_AIGOV_HEARTBEAT_INTERVAL_MS = 'aigov.heartbeat.interval_ms';

/** Whether the process goes on. */
export const ATTR_AIGOV_HEARTBEAT_STATE = 'aigov.heartbeat.state';
export const AIGOV_HEARTBEAT_STATE_VALUE_RUNNING = 'running';
export const AIGOV_HEARTBEAT_STATE_VALUE_CLOSED = 'closed';
export const AIGOV_HEARTBEAT_STATE_VALUES = ['running', 'closed'] as const;

/** The one terminal state of the invocation. */
export const ATTR_AIGOV_INVOCATION_COMPLETION = 'aigov.invocation.completion';
export const AIGOV_INVOCATION_COMPLETION_VALUE_COMPLETE = 'complete';
export const AIGOV_INVOCATION_COMPLETION_VALUE_ERROR = 'error';
export const AIGOV_INVOCATION_COMPLETION_VALUE_ABORTED = 'aborted';
export const AIGOV_INVOCATION_COMPLETION_VALUE_ABANDONED = 'abandoned';
export const AIGOV_INVOCATION_COMPLETION_VALUE_INTERRUPTED = 'interrupted';
export const AIGOV_INVOCATION_COMPLETION_VALUES = [
  'complete',
  'error',
  'aborted',
  'abandoned',
  'interrupted',
] as const;

/** What made the invocation end as it did, where that is known. */
export const ATTR_AIGOV_INVOCATION_DETAIL = 'aigov.invocation.detail';
export const AIGOV_INVOCATION_DETAIL_VALUE_TRUNCATED = 'truncated';
export const AIGOV_INVOCATION_DETAIL_VALUE_TIMEOUT = 'timeout';
export const AIGOV_INVOCATION_DETAIL_VALUE_CONNECTION = 'connection';
export const AIGOV_INVOCATION_DETAIL_VALUE_SIGNAL = 'signal';
export const AIGOV_INVOCATION_DETAIL_VALUE_BREAK = 'break';
export const AIGOV_INVOCATION_DETAIL_VALUE_UNREAD = 'unread';
export const AIGOV_INVOCATION_DETAIL_VALUE_RAW_RESPONSE = 'raw_response';
export const AIGOV_INVOCATION_DETAIL_VALUES = [
  'truncated',
  'timeout',
  'connection',
  'signal',
  'break',
  'unread',
  'raw_response',
] as const;

/** Version of the model, where the provider or the owner gives one. */
export const ATTR_AIGOV_MODEL_VERSION = 'aigov.model.version';

/** Digest of the model weights, as algorithm, colon, lower-case hex. */
export const ATTR_AIGOV_MODEL_DIGEST = 'aigov.model.digest';

/** Name of the data set or index the invocation drew on. */
export const ATTR_AIGOV_DATASET_ID = 'aigov.dataset.id';

/** Version of that data set. */
export const ATTR_AIGOV_DATASET_VERSION = 'aigov.dataset.version';

/** Digest of that data set, as algorithm, colon, lower-case hex. */
export const ATTR_AIGOV_DATASET_DIGEST = 'aigov.dataset.digest';

/** Digest of the prompt template before its variables are filled in, as algorithm, colon, lower-case hex. */
export const ATTR_AIGOV_PROMPT_TEMPLATE_DIGEST = 'aigov.prompt.template.digest';

/** Keyed digest of the request parameters and tool definitions, without the messages. */
export const ATTR_AIGOV_CONFIG_DIGEST = 'aigov.config.digest';

/** How the content of the invocation was treated. */
export const ATTR_AIGOV_CONTENT_POLICY = 'aigov.content.policy';
export const AIGOV_CONTENT_POLICY_VALUE_DIGEST = 'digest';
export const AIGOV_CONTENT_POLICY_VALUE_OMIT = 'omit';
export const AIGOV_CONTENT_POLICY_VALUE_FULL = 'full';
export const AIGOV_CONTENT_POLICY_VALUES = ['digest', 'omit', 'full'] as const;

/** Keyed digest of what went to the model. */
export const ATTR_AIGOV_INPUT_DIGEST = 'aigov.input.digest';

/** Length in bytes of what aigov.input.digest was computed over. */
export const ATTR_AIGOV_INPUT_LENGTH = 'aigov.input.length';

/** Why there is no aigov.input.digest. */
export const ATTR_AIGOV_INPUT_ABSENCE = 'aigov.input.absence';
export const AIGOV_INPUT_ABSENCE_VALUE_POLICY = 'policy';
export const AIGOV_INPUT_ABSENCE_VALUE_NO_KEY = 'no_key';
export const AIGOV_INPUT_ABSENCE_VALUE_NOT_OBSERVED = 'not_observed';
export const AIGOV_INPUT_ABSENCE_VALUE_BINARY = 'binary';
export const AIGOV_INPUT_ABSENCE_VALUE_INCOMPLETE = 'incomplete';
export const AIGOV_INPUT_ABSENCE_VALUE_UNSERIALISABLE = 'unserialisable';
export const AIGOV_INPUT_ABSENCE_VALUES = [
  'policy',
  'no_key',
  'not_observed',
  'binary',
  'incomplete',
  'unserialisable',
] as const;

/** Keyed digest of what the model answered. */
export const ATTR_AIGOV_OUTPUT_DIGEST = 'aigov.output.digest';

/** Length in bytes of what aigov.output.digest was computed over. */
export const ATTR_AIGOV_OUTPUT_LENGTH = 'aigov.output.length';

/** Why there is no aigov.output.digest. */
export const ATTR_AIGOV_OUTPUT_ABSENCE = 'aigov.output.absence';
export const AIGOV_OUTPUT_ABSENCE_VALUE_POLICY = 'policy';
export const AIGOV_OUTPUT_ABSENCE_VALUE_NO_KEY = 'no_key';
export const AIGOV_OUTPUT_ABSENCE_VALUE_NOT_OBSERVED = 'not_observed';
export const AIGOV_OUTPUT_ABSENCE_VALUE_BINARY = 'binary';
export const AIGOV_OUTPUT_ABSENCE_VALUE_INCOMPLETE = 'incomplete';
export const AIGOV_OUTPUT_ABSENCE_VALUE_UNSERIALISABLE = 'unserialisable';
export const AIGOV_OUTPUT_ABSENCE_VALUES = [
  'policy',
  'no_key',
  'not_observed',
  'binary',
  'incomplete',
  'unserialisable',
] as const;

/** Algorithm of the content digests of this span. */
export const ATTR_AIGOV_DIGEST_ALG = 'aigov.digest.alg';
export const AIGOV_DIGEST_ALG_VALUE_HMAC_SHA256 = 'hmac-sha256';
export const AIGOV_DIGEST_ALG_VALUES = ['hmac-sha256'] as const;

/** Name of the key of the content digests; says nothing about the key. */
export const ATTR_AIGOV_DIGEST_KEY_ID = 'aigov.digest.key_id';

/** Name of the policy or guardrail that ran. */
export const ATTR_AIGOV_POLICY_ID = 'aigov.policy.id';

/** Version of that policy. */
export const ATTR_AIGOV_POLICY_VERSION = 'aigov.policy.version';

/** Rule of the policy that decided. */
export const ATTR_AIGOV_POLICY_RULE_ID = 'aigov.policy.rule.id';

/** What the policy found. */
export const ATTR_AIGOV_POLICY_VERDICT = 'aigov.policy.verdict';
export const AIGOV_POLICY_VERDICT_VALUE_ALLOW = 'allow';
export const AIGOV_POLICY_VERDICT_VALUE_DENY = 'deny';
export const AIGOV_POLICY_VERDICT_VALUE_MODIFY = 'modify';
export const AIGOV_POLICY_VERDICT_VALUE_WARN = 'warn';
export const AIGOV_POLICY_VERDICT_VALUE_ESCALATE = 'escalate';
export const AIGOV_POLICY_VERDICT_VALUES = ['allow', 'deny', 'modify', 'warn', 'escalate'] as const;

/** What was done after the verdict. */
export const ATTR_AIGOV_POLICY_ACTION = 'aigov.policy.action';
export const AIGOV_POLICY_ACTION_VALUE_ALLOW = 'allow';
export const AIGOV_POLICY_ACTION_VALUE_BLOCK = 'block';
export const AIGOV_POLICY_ACTION_VALUE_MODIFY = 'modify';
export const AIGOV_POLICY_ACTION_VALUE_ESCALATE = 'escalate';
export const AIGOV_POLICY_ACTION_VALUES = ['allow', 'block', 'modify', 'escalate'] as const;

/** Short code of the reason for a verdict other than allow. */
export const ATTR_AIGOV_POLICY_REASON_CODE = 'aigov.policy.reason_code';

/** Name of the decision, unique in the system. */
export const ATTR_AIGOV_DECISION_ID = 'aigov.decision.id';

/** Decision this one revises or is part of. */
export const ATTR_AIGOV_DECISION_PARENT_ID = 'aigov.decision.parent_id';

/** What was decided, in the words of the system. */
export const ATTR_AIGOV_DECISION_OUTCOME = 'aigov.decision.outcome';

/** Confidence between 0 and 1, only as the model reported it. */
export const ATTR_AIGOV_DECISION_CONFIDENCE = 'aigov.decision.confidence';

/** How far the decision was automated. */
export const ATTR_AIGOV_DECISION_AUTOMATION = 'aigov.decision.automation';
export const AIGOV_DECISION_AUTOMATION_VALUE_FULL = 'full';
export const AIGOV_DECISION_AUTOMATION_VALUE_ASSISTED = 'assisted';
export const AIGOV_DECISION_AUTOMATION_VALUE_ADVISORY = 'advisory';
export const AIGOV_DECISION_AUTOMATION_VALUES = ['full', 'assisted', 'advisory'] as const;

/** Whether it has legal or similarly significant effect on a person. */
export const ATTR_AIGOV_DECISION_LEGAL_EFFECT = 'aigov.decision.legal_effect';

/** Whether the decision was carried out, and not only evaluated. */
export const ATTR_AIGOV_DECISION_EXECUTED = 'aigov.decision.executed';

/** Digest of the observed effect, as algorithm, colon, lower-case hex. */
export const ATTR_AIGOV_DECISION_EFFECT_DIGEST = 'aigov.decision.effect_digest';

/** Human oversight that is in place for the invocation. */
export const ATTR_AIGOV_OVERSIGHT_MODE = 'aigov.oversight.mode';
export const AIGOV_OVERSIGHT_MODE_VALUE_IN_LOOP = 'in_loop';
export const AIGOV_OVERSIGHT_MODE_VALUE_ON_LOOP = 'on_loop';
export const AIGOV_OVERSIGHT_MODE_VALUE_NONE = 'none';
export const AIGOV_OVERSIGHT_MODE_VALUES = ['in_loop', 'on_loop', 'none'] as const;

/** What a person did. */
export const ATTR_AIGOV_OVERSIGHT_ACT = 'aigov.oversight.act';
export const AIGOV_OVERSIGHT_ACT_VALUE_APPROVE = 'approve';
export const AIGOV_OVERSIGHT_ACT_VALUE_EDIT = 'edit';
export const AIGOV_OVERSIGHT_ACT_VALUE_REJECT = 'reject';
export const AIGOV_OVERSIGHT_ACT_VALUE_OVERRIDE = 'override';
export const AIGOV_OVERSIGHT_ACT_VALUE_STOP = 'stop';
export const AIGOV_OVERSIGHT_ACT_VALUE_RESPOND = 'respond';
export const AIGOV_OVERSIGHT_ACT_VALUES = [
  'approve',
  'edit',
  'reject',
  'override',
  'stop',
  'respond',
] as const;

/** Pseudonym of the person who acted. */
export const ATTR_AIGOV_OVERSIGHT_REVIEWER_ID = 'aigov.oversight.reviewer.id';

/** Role in which the person acted. */
export const ATTR_AIGOV_OVERSIGHT_REVIEWER_ROLE = 'aigov.oversight.reviewer.role';

/** Digest of what the person was shown, as algorithm, colon, lower-case hex. */
export const ATTR_AIGOV_OVERSIGHT_CONTEXT_DIGEST = 'aigov.oversight.context_digest';

/** Where the justification is kept. */
export const ATTR_AIGOV_OVERSIGHT_JUSTIFICATION_REF = 'aigov.oversight.justification_ref';

/** Seconds from showing to acting. */
export const ATTR_AIGOV_OVERSIGHT_LATENCY = 'aigov.oversight.latency';

/** Notice the person concerned was given. */
export const ATTR_AIGOV_TRANSPARENCY_NOTICE_ID = 'aigov.transparency.notice_id';

/** Incident the span belongs to. */
export const ATTR_AIGOV_INCIDENT_ID = 'aigov.incident.id';

/** Name of the retention rule that applies. */
export const ATTR_AIGOV_RETENTION_CLASS = 'aigov.retention.class';

/** Whether it must be kept beyond its retention. */
export const ATTR_AIGOV_LEGAL_HOLD = 'aigov.legal_hold';

/** Convention the span was written in. */
export const ATTR_AIGOV_SOURCE_CONVENTION = 'aigov.source.convention';
export const AIGOV_SOURCE_CONVENTION_VALUE_GEN_AI = 'gen_ai';
export const AIGOV_SOURCE_CONVENTION_VALUE_OPENINFERENCE = 'openinference';
export const AIGOV_SOURCE_CONVENTION_VALUE_OPENLLMETRY = 'openllmetry';
export const AIGOV_SOURCE_CONVENTION_VALUE_VERCEL_AI = 'vercel_ai';
export const AIGOV_SOURCE_CONVENTION_VALUE_LANGFUSE = 'langfuse';
export const AIGOV_SOURCE_CONVENTION_VALUE_AIGOV = 'aigov';
export const AIGOV_SOURCE_CONVENTION_VALUES = [
  'gen_ai',
  'openinference',
  'openllmetry',
  'vercel_ai',
  'langfuse',
  'aigov',
] as const;

/** Package that is instrumented. */
export const ATTR_AIGOV_INSTRUMENTATION_TARGET = 'aigov.instrumentation.target';

/** Version of that package. */
export const ATTR_AIGOV_INSTRUMENTATION_VERSION = 'aigov.instrumentation.version';

/** Whether calls through the package are seen. */
export const ATTR_AIGOV_INSTRUMENTATION_STATUS = 'aigov.instrumentation.status';
export const AIGOV_INSTRUMENTATION_STATUS_VALUE_ACTIVE = 'active';
export const AIGOV_INSTRUMENTATION_STATUS_VALUE_OUT_OF_RANGE = 'out_of_range';
export const AIGOV_INSTRUMENTATION_STATUS_VALUE_LOADED_BEFORE_US = 'loaded_before_us';
export const AIGOV_INSTRUMENTATION_STATUS_VALUE_FAILED = 'failed';
export const AIGOV_INSTRUMENTATION_STATUS_VALUES = [
  'active',
  'out_of_range',
  'loaded_before_us',
  'failed',
] as const;

/** What the instrumentation was given and could not record, without the values. */
export const ATTR_AIGOV_INSTRUMENTATION_PROBLEMS = 'aigov.instrumentation.problems';

/** Where the span is sealed, as origin, number sign, record index, slash, entry index. */
export const ATTR_AIGOV_AUDIT_REF = 'aigov.audit.ref';

/** Leaf hash of the sealed entry, base64. */
export const ATTR_AIGOV_AUDIT_LEAF = 'aigov.audit.leaf';
