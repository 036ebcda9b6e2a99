/**
 * Every named failure of EdgeNet: class, stable `code`, exit status. Runs in page, worker, service worker and Node.
 * Twin of `pysrc/edgenet/errors.py`; both are tested against `tests/vectors/errors.json`. A message says what was asked,
 * what was found and what to do next; `details` is JSON data that a program can read instead of the message.
 * Longer than other files because it is one table, a class per row.
 */

/** @typedef {{name: string, code: string, message: string, details: Record<string, unknown>}} ErrorData */

/** Base of all EdgeNet failures; `details` must be JSON data. */
export class EdgeNetError extends Error {
  static code = "internal";
  static exitStatus = 1;

  /**
   * @param {string} message
   * @param {Record<string, unknown>} [details]
   */
  constructor(message, details = {}) {
    super(message);
    const self = /** @type {typeof EdgeNetError} */ (this.constructor);
    /** @type {string} */
    this.code = self.code;
    this.details = details;
    // Not enumerable, as on the built-in errors; the class's own name survives minifying because it is given as text.
    Object.defineProperty(this, "name", { value: self.title, configurable: true, writable: true });
  }

  static title = "EdgeNetError";

  get exitStatus() {
    return /** @type {typeof EdgeNetError} */ (this.constructor).exitStatus;
  }
}

/** Code → class. @type {Map<string, typeof EdgeNetError>} */
export const BY_CODE = new Map([[EdgeNetError.code, EdgeNetError]]);

/**
 * A row of the table.
 * @param {string} title @param {string} code @param {typeof EdgeNetError} parent @param {number} [exitStatus]
 * @returns {typeof EdgeNetError}
 */
function failure(title, code, parent, exitStatus = parent.exitStatus) {
  if (BY_CODE.has(code)) throw new TypeError(`error code ${code} is used twice`);
  const made = class extends parent {
    static code = code;
    static exitStatus = exitStatus;
    static title = title;
  };
  Object.defineProperty(made, "name", { value: title });
  BY_CODE.set(code, made);
  return made;
}

/** What the browser's own exceptions are called here; others are `internal`. */
const DOM_NAMES = new Map([
  ["AbortError", "aborted"], ["QuotaExceededError", "quota_exceeded"], ["TimeoutError", "request_timeout"],
]);

/**
 * Any thrown value as wire data; a browser's AbortError, QuotaExceededError and TimeoutError get EdgeNet's codes.
 * @param {unknown} error
 * @returns {ErrorData}
 */
export function toData(error) {
  if (error instanceof EdgeNetError) {
    return { name: error.name, code: error.code, message: error.message, details: error.details };
  }
  const { name = "Error", message = String(error) } = /** @type {Error} */ (Object(error));
  const code = DOM_NAMES.get(name) ?? EdgeNetError.code;
  const known = /** @type {typeof EdgeNetError} */ (BY_CODE.get(code));
  return { name: known.title, code, message, details: code === EdgeNetError.code ? { was: name } : {} };
}

/**
 * The error that `toData` described, of the same class; an unknown code keeps its code on the base class.
 * @param {Partial<ErrorData>} data
 * @returns {EdgeNetError}
 */
export function fromData({ code = EdgeNetError.code, message = "", details = {} }) {
  const error = new (BY_CODE.get(code) ?? EdgeNetError)(message, details);
  error.code = code;
  return error;
}

/** Any thrown value as an EdgeNetError: itself, or what `toData` makes of it, with the original as `cause`. */
export function named(/** @type {unknown} */ error) {
  if (error instanceof EdgeNetError) return error;
  const made = fromData(toData(error));
  made.cause = error;
  return made;
}

// --- bad input
/** An argument cannot be used. */
export const InputError = failure("InputError", "bad_input", EdgeNetError, 8);
/** A text has no characters other than white space. */
export const EmptyText = failure("EmptyText", "empty_text", InputError);
/** A list that must hold at least one item holds none. */
export const EmptyBatch = failure("EmptyBatch", "empty_batch", InputError);
/** A file or argument is binary, or not a string. */
export const NotText = failure("NotText", "not_text", InputError);
/** A document is larger than the limit. */
export const TextTooLarge = failure("TextTooLarge", "text_too_large", InputError);
/** A prompt has more tokens than the model's context holds. */
export const ContextFull = failure("ContextFull", "context_full", InputError);
/** A folder holds more files than the limit. */
export const TooManyFiles = failure("TooManyFiles", "too_many_files", InputError);
/** An argument has the wrong type or dtype. */
export const WrongType = failure("WrongType", "wrong_type", InputError);
/** A vector, matrix or batch has the wrong length or shape. */
export const WrongLength = failure("WrongLength", "wrong_length", InputError);
/** An array holds NaN or an infinity. */
export const NotFinite = failure("NotFinite", "not_finite", InputError);
/** A learning scope is none of the 17 operators. */
export const UnknownScope = failure("UnknownScope", "unknown_scope", InputError);
/** An option's value is out of range or unknown. */
export const InvalidOption = failure("InvalidOption", "invalid_option", InputError);
/** An adapter's rank is 0, or above what can be trained or run here. */
export const InvalidRank = failure("InvalidRank", "rank_invalid", InvalidOption);
/** An adapter names a module that no model here has. */
export const UnknownTargetModule = failure("UnknownTargetModule", "target_module_unknown", InvalidOption);
/** A value has no RFC 8785 canonical form. */
export const NotCanonical = failure("NotCanonical", "not_canonical", InputError);
/** A text is not a CID of the kind EdgeNet reads. */
export const InvalidCid = failure("InvalidCid", "invalid_cid", InputError);
/** There is no mark left to undo, or the mark is unknown. */
export const NothingToUndo = failure("NothingToUndo", "nothing_to_undo", InputError);
/** A backup or exported adapter cannot be read; nothing was changed. */
export const BackupInvalid = failure("BackupInvalid", "backup_invalid", InputError);
/** There is nothing to learn from: no example, or none with a token that counts. */
export const TooLittleData = failure("TooLittleData", "training_data_too_little", InputError);
/** A pair of input and output has more tokens than training's rows hold. */
export const ExampleTooLong = failure("ExampleTooLong", "example_too_long", InputError);
/** The masked objective was asked of a model whose tokenizer has no mask token. */
export const NoMaskToken = failure("NoMaskToken", "no_mask_token", InputError);
/** A training was to begin, or to be discarded, while it or another one trains in the same session. */
export const TrainingUnderWay = failure("TrainingUnderWay", "training_under_way", InputError);
export const ScriptHeldPage = failure("ScriptHeldPage", "script_held_page", InputError);
/** A checkpoint of training cannot be read, or was damaged. */
export const CheckpointInvalid = failure("CheckpointInvalid", "checkpoint_invalid", InputError);
/** A checkpoint is of other data, another model or another configuration than the training asked for. */
export const CheckpointMismatch = failure("CheckpointMismatch", "checkpoint_mismatch", CheckpointInvalid);
/** An adapter's file or bytes cannot be read, or contradict themselves; nothing was loaded. */
export const InvalidAdapter = failure("InvalidAdapter", "adapter_invalid", InputError);
/** An adapter was made for another base model, or one of its factors has another shape; it was not loaded. */
export const AdapterMismatch = failure("AdapterMismatch", "adapter_mismatch", InputError);
/** An adapter is of a kind that EdgeNet does not run (DoRA, saved modules, biases), or adapts what EdgeNet does not adapt. */
export const UnsupportedAdapter = failure("UnsupportedAdapter", "adapter_unsupported", InputError);
/** Another adapter has this name already. */
export const AdapterExists = failure("AdapterExists", "adapter_exists", InputError);
/** What an adapter was trained on was described with another embedding model. */
export const ProfileMismatch = failure("ProfileMismatch", "adapter_profile_mismatch", InputError);
/** An adapter is to be chosen by what is asked, and nobody said by which embedding model. */
export const NoRouter = failure("NoRouter", "adapter_router_missing", InputError);
/** A file is not GGUF, is cut short, or says of itself what cannot be. */
export const InvalidGguf = failure("InvalidGguf", "gguf_invalid", InputError);
/** A model's file is of an architecture that EdgeNet has no function for; `known` lists those it has. */
export const UnknownArchitecture = failure("UnknownArchitecture", "unknown_architecture", InvalidGguf);
/** A model's file lacks a metadata key that its graph depends on. */
export const MetadataMissing = failure("MetadataMissing", "metadata_missing", InvalidGguf);
/** A model's metadata is of another type or size than can be, or two keys cannot both be true. */
export const MetadataContradicts = failure("MetadataContradicts", "metadata_contradicts", InvalidGguf);
/** A model's file lacks a tensor that its architecture needs. */
export const MissingTensor = failure("MissingTensor", "missing_tensor", InvalidGguf);
/** A tensor has another shape than the file's metadata asks for. */
export const WrongTensorShape = failure("WrongTensorShape", "wrong_tensor_shape", InvalidGguf);
/** A graph depends on the numbers of a few short tensors that were not given; `tensors` names them. */
export const TensorValuesNeeded = failure("TensorValuesNeeded", "tensor_values_needed", InputError);
/** A model's graph is built wrongly; the message names the line that did it. */
export const InvalidGraph = failure("InvalidGraph", "graph_invalid", InputError);
/** A Program contradicts its schema, its own sizes or the kernels' table; nothing of it was run. */
export const InvalidProgram = failure("InvalidProgram", "program_invalid", InputError);
/** A Program asks for a kernel that this engine does not have. */
export const UnknownOp = failure("UnknownOp", "program_unknown_op", InvalidProgram);
/** A Program was compiled for another version of the kernels' table; compile the model anew. */
export const OpsetUnsupported = failure("OpsetUnsupported", "program_opset", InvalidProgram);
/** A Program, or the memory it asks for, is larger than the engine can have; nothing was allocated. */
export const ProgramTooLarge = failure("ProgramTooLarge", "program_too_large", InvalidProgram);
/** A Program cannot run beside the loaded one: its weights, its cache or its states are others; `part` says which. */
export const ProgramMismatch = failure("ProgramMismatch", "program_mismatch", InvalidProgram);
/** A model's tokenizer is of a kind that EdgeNet does not know, or contradicts itself. */
export const TokenizerInvalid = failure("TokenizerInvalid", "tokenizer_invalid", InputError);
/** The model has no chat template; complete a prompt with it instead. */
export const NoChatTemplate = failure("NoChatTemplate", "no_chat_template", InputError);
/** A model's chat template cannot be read, or failed on these messages. */
export const ChatTemplateInvalid = failure("ChatTemplateInvalid", "chat_template_invalid", InputError);
/** A model's chat template ran past its limits or reached for what it may not touch. */
export const ChatTemplateRefused = failure("ChatTemplateRefused", "chat_template_refused", ChatTemplateInvalid);
/** The model's chat template does not take these messages; its own words say why. */
export const MessagesRefused = failure("MessagesRefused", "messages_refused", InputError);
/** The configuration file cannot be read, or a value in it cannot be. */
export const ConfigInvalid = failure("ConfigInvalid", "config_invalid", InputError);
/** The configuration has no key of this name. */
export const UnknownOption = failure("UnknownOption", "unknown_option", InputError);
/** No site was named to get models from. */
export const NoSite = failure("NoSite", "no_site", InputError);
/** The site already holds other files under this model's id and version. */
export const AlreadyPublished = failure("AlreadyPublished", "already_published", InputError);

// --- things that do not exist
/** The thing asked for does not exist. */
export const NotFound = failure("NotFound", "not_found", EdgeNetError, 3);
/** No source lists this model or version. */
export const ModelNotFound = failure("ModelNotFound", "model_not_found", NotFound);
/** The model is not complete in the local store, and fetching was not allowed. */
export const NotCached = failure("NotCached", "not_cached", NotFound);
/** No document or passage has this id. */
export const DocumentNotFound = failure("DocumentNotFound", "document_not_found", NotFound);
/** No signing key lies at the given place. */
export const KeyNotFound = failure("KeyNotFound", "key_not_found", NotFound);
/** No adapter of this name is loaded, or stored. */
export const AdapterNotFound = failure("AdapterNotFound", "adapter_not_found", NotFound);
/** No adapter of this model says what it was trained on, so that none can be chosen for a request. */
export const NoProfile = failure("NoProfile", "adapter_profile_missing", NotFound);

// --- the manifest
/** A manifest is refused; nothing it names was fetched. */
export const ManifestError = failure("ManifestError", "manifest_invalid", EdgeNetError, 4);
/** The bytes are not one UTF-8 JSON object. */
export const ManifestNotJson = failure("ManifestNotJson", "manifest_not_json", ManifestError);
/** A field is missing or has the wrong type or form. */
export const ManifestSchemaError = failure("ManifestSchemaError", "manifest_schema", ManifestError);
/** The document's `schemaVersion` is not one that this EdgeNet reads. */
export const SchemaVersionUnsupported = failure("SchemaVersionUnsupported", "schema_version_unsupported", ManifestError);
/** A file name or address could leave the place it belongs to. */
export const UnsafePath = failure("UnsafePath", "unsafe_path", ManifestError);
/** Two statements about one size or count contradict each other. */
export const SizesDisagree = failure("SizesDisagree", "sizes_disagree", ManifestError);
/** The chunk hashes do not add up to the Merkle root. */
export const LeavesDisagree = failure("LeavesDisagree", "leaves_disagree", ManifestError);

// --- trust
/** A signature or key does not allow what was asked. */
export const TrustError = failure("TrustError", "not_trusted", EdgeNetError, 4);
/** The document is not signed. */
export const SignatureMissing = failure("SignatureMissing", "signature_missing", TrustError);
/** The signature does not fit the document and the key. */
export const SignatureInvalid = failure("SignatureInvalid", "signature_invalid", TrustError);
/** The signing key is not in this site's `trust.json`. */
export const KeyUntrusted = failure("KeyUntrusted", "key_untrusted", TrustError);
/** The signing key was revoked. */
export const KeyRevoked = failure("KeyRevoked", "key_revoked", TrustError);
/** The signing key is trusted, but not for this. */
export const KeyIncapable = failure("KeyIncapable", "key_incapable", TrustError);
/** The signature or the present moment lies before the key's `notBefore`. */
export const KeyNotYetValid = failure("KeyNotYetValid", "key_not_yet_valid", TrustError);
/** The signature or the present moment lies after the key's `notAfter`. */
export const KeyExpired = failure("KeyExpired", "key_expired", TrustError);
/** This model version was withdrawn by its publisher. */
export const ManifestRevoked = failure("ManifestRevoked", "manifest_revoked", TrustError);
/** The manifest's `expiresAt` has passed. */
export const ManifestExpired = failure("ManifestExpired", "manifest_expired", TrustError);
/** `trust.json` cannot be read or contradicts itself. */
export const TrustFileInvalid = failure("TrustFileInvalid", "trust_file_invalid", TrustError);
/** `revocations.json` cannot be read. */
export const RevocationsInvalid = failure("RevocationsInvalid", "revocations_invalid", TrustError);
/** A revocation list is older than, or contradicts, the one already accepted. */
export const RevocationsOutdated = failure("RevocationsOutdated", "revocations_outdated", TrustError);
/** A file or text is not an Ed25519 key. */
export const KeyInvalid = failure("KeyInvalid", "key_invalid", TrustError);
/** A key that is published in the tests may not sign a site. */
export const TestKeyRefused = failure("TestKeyRefused", "test_key_refused", TrustError);

// --- bytes
/** Bytes are not what the manifest says. */
export const IntegrityError = failure("IntegrityError", "integrity", EdgeNetError, 4);
/** A chunk or file has another hash. */
export const HashMismatch = failure("HashMismatch", "hash_mismatch", IntegrityError);
/** A chunk or file has another length. */
export const SizeMismatch = failure("SizeMismatch", "size_mismatch", IntegrityError);

// --- network and sources
/** A request failed before an answer came. */
export const NetworkError = failure("NetworkError", "network", EdgeNetError, 5);
/** A server answered with an error status. */
export const HttpStatusError = failure("HttpStatusError", "http_status", NetworkError);
/** No byte arrived within the time limit. */
export const RequestTimeout = failure("RequestTimeout", "request_timeout", NetworkError);
/** A model hub wants a sign-in or an accepted licence before it gives the file. */
export const AccessRefused = failure("AccessRefused", "access_refused", NetworkError);
/** A server ignores `Range` where a part of the file is needed. */
export const RangeUnsupported = failure("RangeUnsupported", "range_unsupported", NetworkError);
/** The machine is offline and the thing is not in the local store. */
export const Offline = failure("Offline", "offline", NetworkError);
/** No source in the manifest is of a kind this program can read. */
export const SourceUnsupported = failure("SourceUnsupported", "source_unsupported", NetworkError);
/** Every source failed for one chunk or file; `details.attempts` says how. */
export const AllSourcesFailed = failure("AllSourcesFailed", "all_sources_failed", NetworkError);

// --- storage
/** The local store failed. */
export const StorageError = failure("StorageError", "storage", EdgeNetError, 6);
/** The browser offers no store here (private window, blocked site data), or the folder cannot be written. */
export const StorageUnavailable = failure("StorageUnavailable", "storage_unavailable", StorageError);
/** The store has no room left. */
export const QuotaExceeded = failure("QuotaExceeded", "quota_exceeded", StorageError);

// --- the machine
/** This machine or browser cannot do what was asked. */
export const PlatformError = failure("PlatformError", "platform", EdgeNetError, 9);
/** The page was opened by plain http from another machine, where browsers withhold what EdgeNet needs. */
export const InsecureContext = failure("InsecureContext", "insecure_context", PlatformError);
/** A needed feature (WebAssembly SIMD, WebCrypto Ed25519, workers) is absent. */
export const FeatureMissing = failure("FeatureMissing", "feature_missing", PlatformError);
/** The page does not let EdgeNet's frame in, or the frame does not let the page in. */
export const FrameRefused = failure("FrameRefused", "frame_refused", PlatformError);
/** The model needs more memory than the engine can have; nothing was allocated. */
export const ModelTooLarge = failure("ModelTooLarge", "model_too_large", PlatformError);

// --- engine, sessions, workers
/** The engine could not do its work. */
export const EngineError = failure("EngineError", "engine", EdgeNetError, 7);
/** A model of this type has no such operation. */
export const NotSupported = failure("NotSupported", "not_supported", EngineError);
/** An adapter needs more room than requests that run leave in the engine's pool. */
export const AdapterPoolFull = failure("AdapterPoolFull", "adapter_pool_full", EngineError);
/** The engine was restarted and the vector index went with it; fill it again. */
export const IndexLost = failure("IndexLost", "index_lost", EngineError);
/** No model is loaded in this session. */
export const NoModel = failure("NoModel", "no_model", EngineError);
/** The session, loader or worker was disposed before the call. */
export const Disposed = failure("Disposed", "disposed", EngineError);
/** The model's files were verified but cannot be run. */
export const ModelInvalid = failure("ModelInvalid", "model_invalid", EngineError);
/** A weight is stored in a form that this EdgeNet cannot read. */
export const UnsupportedTensorType = failure("UnsupportedTensorType", "tensor_type_unsupported", EngineError);
/** The model answered NaN or an infinity; nothing was stored. */
export const OutputNotFinite = failure("OutputNotFinite", "output_not_finite", EngineError);
/** The loss is no longer a number; training stopped at `step` and the last good checkpoint is kept. */
export const TrainingDiverged = failure("TrainingDiverged", "training_diverged", EngineError);
/** The engine did not answer in time and was stopped. */
export const EngineDeadline = failure("EngineDeadline", "engine_deadline", EngineError);
/** A worker ended while calls were waiting. */
export const WorkerDied = failure("WorkerDied", "worker_died", EngineError);
/** A message to or from a worker has an unknown kind or shape. */
export const WorkerProtocolError = failure("WorkerProtocolError", "worker_protocol", EngineError);
/** A worker was asked for a kind of work that it does not do. */
export const UnknownKind = failure("UnknownKind", "unknown_kind", WorkerProtocolError);
/** Python could not be started in the page; search still works, teaching does not. */
export const PythonBootFailed = failure("PythonBootFailed", "python_boot_failed", EngineError);

// --- kernels: what a call can meet
/** A kernel call failed. */
export const KernelError = failure("KernelError", "kernel", EngineError);
/** A kernel ran past its deadline and was stopped. */
export const EpochDeadline = failure("EpochDeadline", "kernel_deadline", KernelError);
/** A kernel touched memory that is not its own; `details.offset`, `details.size`. */
export const MemoryAccessViolation = failure("MemoryAccessViolation", "kernel_memory_access", KernelError);
/** A kernel divided by zero or overflowed a conversion. */
export const IntegerOverflow = failure("IntegerOverflow", "kernel_integer_overflow", KernelError);
/** A kernel reached an `unreachable` instruction. */
export const Unreachable = failure("Unreachable", "kernel_unreachable", KernelError);
/** A kernel exhausted its stack. */
export const StackOverflow = failure("StackOverflow", "kernel_stack_overflow", KernelError);
/** A kernel made an indirect call of the wrong type. */
export const IndirectCallTypeMismatch = failure("IndirectCallTypeMismatch", "kernel_indirect_call", KernelError);
/** A kernel trapped, or returned an error code; `details.returned`. */
export const KernelTrap = failure("KernelTrap", "kernel_trap", KernelError);
/** The active pack has no kernel of this id. */
export const KernelNotFound = failure("KernelNotFound", "kernel_not_found", KernelError);
/** A parameter is missing, of the wrong type, or outside its limits. */
export const InvalidParameters = failure("InvalidParameters", "kernel_parameters", KernelError);
/** An input's or output's shape does not fit the kernel. */
export const ShapeMismatch = failure("ShapeMismatch", "kernel_shape", KernelError);
/** An input's or output's dtype does not fit the kernel. */
export const DTypeMismatch = failure("DTypeMismatch", "kernel_dtype", KernelError);
/** The kernel's memory limit is too small for this call. */
export const AllocationFailed = failure("AllocationFailed", "kernel_allocation", KernelError);
/** A kernel's module could not be instantiated or initialised. */
export const InitializationFailed = failure("InitializationFailed", "kernel_initialization", KernelError);
/** A kernel needs a feature that this runtime lacks. */
export const UnsupportedFeature = failure("UnsupportedFeature", "kernel_unsupported_feature", KernelError);

// --- kernel packs: why one is refused
/** A kernel pack is refused; the previous or bundled one stays. */
export const PackError = failure("PackError", "pack", EdgeNetError, 4);
/** No trusted key may sign kernels. */
export const NoTrustedKey = failure("NoTrustedKey", "pack_no_trusted_key", PackError);
/** The pack's signature does not fit. */
export const InvalidSignature = failure("InvalidSignature", "pack_signature", PackError);
/** A kernel module has another hash than the pack says. */
export const PackHashMismatch = failure("PackHashMismatch", "pack_hash_mismatch", PackError);
/** `kernels.json` does not follow its schema. */
export const InvalidPack = failure("InvalidPack", "pack_invalid", PackError);
/** The pack's version gate cannot be read or satisfied. */
export const VersionIncompatible = failure("VersionIncompatible", "pack_version", PackError);
/** The pack wants a newer EdgeNet. */
export const RuntimeTooOld = failure("RuntimeTooOld", "pack_runtime_too_old", PackError);
/** The pack wants an older EdgeNet. */
export const RuntimeTooNew = failure("RuntimeTooNew", "pack_runtime_too_new", PackError);
/** The pack needs a feature that this platform lacks. */
export const MissingFeature = failure("MissingFeature", "pack_missing_feature", PackError);
/** The allowlist does not name this kernel with this hash. */
export const NotInAllowlist = failure("NotInAllowlist", "pack_not_in_allowlist", PackError);
/** A file of the pack cannot be read. */
export const PackIoError = failure("PackIoError", "pack_io", PackError);
/** A key or signature of the pack is malformed. */
export const PackKeyError = failure("PackKeyError", "pack_key", PackError);
/** A kernel's result differs from its reference. */
export const HealthCheckFailed = failure("HealthCheckFailed", "pack_health_check", PackError);

// --- cancelled
/** The caller's `AbortSignal` or cancel token fired. */
export const AbortError = failure("AbortError", "aborted", EdgeNetError, 130);
