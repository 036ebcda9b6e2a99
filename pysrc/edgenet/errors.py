"""Every named failure of EdgeNet: class, stable `code`, CLI exit status. Runs anywhere; imports nothing.

Twin of `web/sdk/errors.js`; both are tested against `tests/vectors/errors.json`. A message says what was asked,
what was found and what to do next; `details` is JSON data that a program can read instead of the message.
Longer than other files because it is one table, a class per row.
"""

BY_CODE: dict[str, type["EdgeNetError"]] = {}

# What the CLI's exit status means. 2 is left to the argument parser.
EXIT_STATUS = {
    1: "a defect in EdgeNet",
    3: "the thing asked for does not exist",
    4: "verification refused it",
    5: "network or source",
    6: "storage",
    7: "engine, kernel or worker",
    8: "bad input",
    9: "this machine or browser cannot do it",
    130: "aborted",
}


class EdgeNetError(Exception):
    """Base of all EdgeNet failures. `EdgeNetError(message, **details)`; `details` must be JSON data."""

    code = "internal"
    exit_status = 1

    def __init_subclass__(cls, code: str, exit_status: int | None = None):
        super().__init_subclass__()
        if code in BY_CODE:
            raise TypeError(f"error code {code!r} is used twice: {BY_CODE[code].__name__} and {cls.__name__}")
        cls.code = code
        if exit_status is not None:
            cls.exit_status = exit_status
        BY_CODE[code] = cls

    def __init__(self, message: str, /, **details):
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self):
        # Pickle would drop the details, and processes exchange errors by pickle.
        return EdgeNetError.from_data, (self.to_data(),)

    def to_data(self) -> dict:
        """The error as the wire's `{name, code, message, details}`."""
        return {"name": type(self).__name__, "code": self.code, "message": self.message, "details": self.details}

    @staticmethod
    def from_data(data: dict) -> "EdgeNetError":
        """The error that `to_data` described, of the same class; an unknown code keeps its code on the base class."""
        code = data.get("code", "internal")
        error = BY_CODE.get(code, EdgeNetError)(data.get("message", ""))
        error.code, error.details = code, dict(data.get("details") or {})
        return error


BY_CODE["internal"] = EdgeNetError


# --- bad input -------------------------------------------------------------------------------------------------------
class InputError(EdgeNetError, code="bad_input", exit_status=8):
    """An argument cannot be used."""


class EmptyText(InputError, code="empty_text"):
    """A text has no characters other than white space."""


class EmptyBatch(InputError, code="empty_batch"):
    """A list that must hold at least one item holds none."""


class NotText(InputError, code="not_text"):
    """A file or argument is binary, or not a string."""


class TextTooLarge(InputError, code="text_too_large"):
    """A document is larger than the limit."""


class ContextFull(InputError, code="context_full"):
    """A prompt has more tokens than the model's context holds."""


class TooManyFiles(InputError, code="too_many_files"):
    """A folder holds more files than the limit."""


class WrongType(InputError, code="wrong_type"):
    """An argument has the wrong type or dtype."""


class WrongLength(InputError, code="wrong_length"):
    """A vector, matrix or batch has the wrong length or shape."""


class NotFinite(InputError, code="not_finite"):
    """An array holds NaN or an infinity."""


class UnknownScope(InputError, code="unknown_scope"):
    """A learning scope is none of the 17 operators."""


class InvalidOption(InputError, code="invalid_option"):
    """An option's value is out of range or unknown."""


class InvalidRank(InvalidOption, code="rank_invalid"):
    """An adapter's rank is 0, or above what can be trained or run here."""


class UnknownTargetModule(InvalidOption, code="target_module_unknown"):
    """An adapter names a module that no model here has."""


class NotCanonical(InputError, code="not_canonical"):
    """A value has no RFC 8785 canonical form."""


class InvalidCid(InputError, code="invalid_cid"):
    """A text is not a CID of the kind EdgeNet reads."""


class NothingToUndo(InputError, code="nothing_to_undo"):
    """There is no mark left to undo, or the mark is unknown."""


class BackupInvalid(InputError, code="backup_invalid"):
    """A backup or exported adapter cannot be read; nothing was changed."""


class TooLittleData(InputError, code="training_data_too_little"):
    """There is nothing to learn from: no example, or none with a token that counts."""


class ExampleTooLong(InputError, code="example_too_long"):
    """A pair of input and output has more tokens than training's rows hold."""


class NoMaskToken(InputError, code="no_mask_token"):
    """The masked objective was asked of a model whose tokenizer has no mask token."""


class TrainingUnderWay(InputError, code="training_under_way"):
    """A training was to begin, or to be discarded, while it or another one trains in the same session."""


class ScriptHeldPage(InputError, code="script_held_page"):
    """A script in a page ran for long without an `await`, and the page could not answer meanwhile."""


class CheckpointInvalid(InputError, code="checkpoint_invalid"):
    """A checkpoint of training cannot be read, or was damaged."""


class CheckpointMismatch(CheckpointInvalid, code="checkpoint_mismatch"):
    """A checkpoint is of other data, another model or another configuration than the training asked for."""


class InvalidAdapter(InputError, code="adapter_invalid"):
    """An adapter's file or bytes cannot be read, or contradict themselves; nothing was loaded."""


class AdapterMismatch(InputError, code="adapter_mismatch"):
    """An adapter was made for another base model, or one of its factors has another shape; it was not loaded."""


class UnsupportedAdapter(InputError, code="adapter_unsupported"):
    """An adapter is of a kind that EdgeNet does not run (DoRA, saved modules, biases), or adapts what EdgeNet does not adapt."""


class AdapterExists(InputError, code="adapter_exists"):
    """Another adapter has this name already."""


class ProfileMismatch(InputError, code="adapter_profile_mismatch"):
    """What an adapter was trained on was described with another embedding model."""


class NoRouter(InputError, code="adapter_router_missing"):
    """An adapter is to be chosen by what is asked, and nobody said by which embedding model."""


class InvalidGguf(InputError, code="gguf_invalid"):
    """A file is not GGUF, is cut short, or says of itself what cannot be."""


class UnknownArchitecture(InvalidGguf, code="unknown_architecture"):
    """A model's file is of an architecture that EdgeNet has no function for; `known` lists those it has."""


class MetadataMissing(InvalidGguf, code="metadata_missing"):
    """A model's file lacks a metadata key that its graph depends on."""


class MetadataContradicts(InvalidGguf, code="metadata_contradicts"):
    """A model's metadata is of another type or size than can be, or two keys cannot both be true."""


class MissingTensor(InvalidGguf, code="missing_tensor"):
    """A model's file lacks a tensor that its architecture needs."""


class WrongTensorShape(InvalidGguf, code="wrong_tensor_shape"):
    """A tensor has another shape than the file's metadata asks for."""


class TensorValuesNeeded(InputError, code="tensor_values_needed"):
    """A graph depends on the numbers of a few short tensors that were not given; `tensors` names them."""


class InvalidGraph(InputError, code="graph_invalid"):
    """A model's graph is built wrongly; the message names the line that did it."""


class InvalidProgram(InputError, code="program_invalid"):
    """A Program contradicts its schema, its own sizes or the kernels' table; nothing of it was run."""


class UnknownOp(InvalidProgram, code="program_unknown_op"):
    """A Program asks for a kernel that this engine does not have."""


class OpsetUnsupported(InvalidProgram, code="program_opset"):
    """A Program was compiled for another version of the kernels' table; compile the model anew."""


class ProgramTooLarge(InvalidProgram, code="program_too_large"):
    """A Program, or the memory it asks for, is larger than the engine can have; nothing was allocated."""


class ProgramMismatch(InvalidProgram, code="program_mismatch"):
    """A Program cannot run beside the loaded one: its weights, its cache or its states are others; `part` says which."""


class TokenizerInvalid(InputError, code="tokenizer_invalid"):
    """A model's tokenizer is of a kind that EdgeNet does not know, or contradicts itself."""


class NoChatTemplate(InputError, code="no_chat_template"):
    """The model has no chat template; complete a prompt with it instead."""


class ChatTemplateInvalid(InputError, code="chat_template_invalid"):
    """A model's chat template cannot be read, or failed on these messages."""


class ChatTemplateRefused(ChatTemplateInvalid, code="chat_template_refused"):
    """A model's chat template ran past its limits or reached for what it may not touch."""


class MessagesRefused(InputError, code="messages_refused"):
    """The model's chat template does not take these messages; its own words say why."""


class ConfigInvalid(InputError, code="config_invalid"):
    """The configuration file cannot be read, or a value in it cannot be."""


class UnknownOption(InputError, code="unknown_option"):
    """The configuration has no key of this name."""


class NoSite(InputError, code="no_site"):
    """No site was named to get models from."""


class AlreadyPublished(InputError, code="already_published"):
    """The site already holds other files under this model's id and version."""


# --- things that do not exist ----------------------------------------------------------------------------------------
class NotFound(EdgeNetError, code="not_found", exit_status=3):
    """The thing asked for does not exist."""


class ModelNotFound(NotFound, code="model_not_found"):
    """No source lists this model or version."""


class NotCached(NotFound, code="not_cached"):
    """The model is not complete in the local store, and fetching was not allowed."""


class DocumentNotFound(NotFound, code="document_not_found"):
    """No document or passage has this id."""


class KeyNotFound(NotFound, code="key_not_found"):
    """No signing key lies at the given place."""


class AdapterNotFound(NotFound, code="adapter_not_found"):
    """No adapter of this name is loaded, or stored."""


class NoProfile(NotFound, code="adapter_profile_missing"):
    """No adapter of this model says what it was trained on, so that none can be chosen for a request."""


# --- the manifest ----------------------------------------------------------------------------------------------------
class ManifestError(EdgeNetError, code="manifest_invalid", exit_status=4):
    """A manifest is refused; nothing it names was fetched."""


class ManifestNotJson(ManifestError, code="manifest_not_json"):
    """The bytes are not one UTF-8 JSON object."""


class ManifestSchemaError(ManifestError, code="manifest_schema"):
    """A field is missing or has the wrong type or form."""


class SchemaVersionUnsupported(ManifestError, code="schema_version_unsupported"):
    """The document's `schemaVersion` is not one that this EdgeNet reads."""


class UnsafePath(ManifestError, code="unsafe_path"):
    """A file name or address could leave the place it belongs to."""


class SizesDisagree(ManifestError, code="sizes_disagree"):
    """Two statements about one size or count contradict each other."""


class LeavesDisagree(ManifestError, code="leaves_disagree"):
    """The chunk hashes do not add up to the Merkle root."""


# --- trust -----------------------------------------------------------------------------------------------------------
class TrustError(EdgeNetError, code="not_trusted", exit_status=4):
    """A signature or key does not allow what was asked."""


class SignatureMissing(TrustError, code="signature_missing"):
    """The document is not signed."""


class SignatureInvalid(TrustError, code="signature_invalid"):
    """The signature does not fit the document and the key."""


class KeyUntrusted(TrustError, code="key_untrusted"):
    """The signing key is not in this site's `trust.json`."""


class KeyRevoked(TrustError, code="key_revoked"):
    """The signing key was revoked."""


class KeyIncapable(TrustError, code="key_incapable"):
    """The signing key is trusted, but not for this."""


class KeyNotYetValid(TrustError, code="key_not_yet_valid"):
    """The signature or the present moment lies before the key's `notBefore`."""


class KeyExpired(TrustError, code="key_expired"):
    """The signature or the present moment lies after the key's `notAfter`."""


class ManifestRevoked(TrustError, code="manifest_revoked"):
    """This model version was withdrawn by its publisher."""


class ManifestExpired(TrustError, code="manifest_expired"):
    """The manifest's `expiresAt` has passed."""


class TrustFileInvalid(TrustError, code="trust_file_invalid"):
    """`trust.json` cannot be read or contradicts itself."""


class RevocationsInvalid(TrustError, code="revocations_invalid"):
    """`revocations.json` cannot be read."""


class RevocationsOutdated(TrustError, code="revocations_outdated"):
    """A revocation list is older than, or contradicts, the one already accepted."""


class KeyInvalid(TrustError, code="key_invalid"):
    """A file or text is not an Ed25519 key."""


class TestKeyRefused(TrustError, code="test_key_refused"):
    """A key that is published in the tests may not sign a site."""


# --- bytes -----------------------------------------------------------------------------------------------------------
class IntegrityError(EdgeNetError, code="integrity", exit_status=4):
    """Bytes are not what the manifest says."""


class HashMismatch(IntegrityError, code="hash_mismatch"):
    """A chunk or file has another hash."""


class SizeMismatch(IntegrityError, code="size_mismatch"):
    """A chunk or file has another length."""


# --- network and sources ---------------------------------------------------------------------------------------------
class NetworkError(EdgeNetError, code="network", exit_status=5):
    """A request failed before an answer came."""


class HttpStatusError(NetworkError, code="http_status"):
    """A server answered with an error status."""


class RequestTimeout(NetworkError, code="request_timeout"):
    """No byte arrived within the time limit."""


class AccessRefused(NetworkError, code="access_refused"):
    """A model hub wants a sign-in or an accepted licence before it gives the file."""


class RangeUnsupported(NetworkError, code="range_unsupported"):
    """A server ignores `Range` where a part of the file is needed."""


class Offline(NetworkError, code="offline"):
    """The machine is offline and the thing is not in the local store."""


class SourceUnsupported(NetworkError, code="source_unsupported"):
    """No source in the manifest is of a kind this program can read."""


class AllSourcesFailed(NetworkError, code="all_sources_failed"):
    """Every source failed for one chunk or file; `details.attempts` says how."""


# --- storage ---------------------------------------------------------------------------------------------------------
class StorageError(EdgeNetError, code="storage", exit_status=6):
    """The local store failed."""


class StorageUnavailable(StorageError, code="storage_unavailable"):
    """The browser offers no store here (private window, blocked site data), or the folder cannot be written."""


class QuotaExceeded(StorageError, code="quota_exceeded"):
    """The store has no room left."""


# --- the machine -----------------------------------------------------------------------------------------------------
class PlatformError(EdgeNetError, code="platform", exit_status=9):
    """This machine or browser cannot do what was asked."""


class InsecureContext(PlatformError, code="insecure_context"):
    """The page was opened by plain http from another machine, where browsers withhold what EdgeNet needs."""


class FeatureMissing(PlatformError, code="feature_missing"):
    """A needed feature (WebAssembly SIMD, WebCrypto Ed25519, workers) is absent."""


class FrameRefused(PlatformError, code="frame_refused"):
    """The page does not let EdgeNet's frame in, or the frame does not let the page in."""


class ModelTooLarge(PlatformError, code="model_too_large"):
    """The model needs more memory than the engine can have; nothing was allocated."""


# --- engine, sessions, workers ---------------------------------------------------------------------------------------
class EngineError(EdgeNetError, code="engine", exit_status=7):
    """The engine could not do its work."""


class NotSupported(EngineError, code="not_supported"):
    """A model of this type has no such operation."""


class AdapterPoolFull(EngineError, code="adapter_pool_full"):
    """An adapter needs more room than requests that run leave in the engine's pool."""


class IndexLost(EngineError, code="index_lost"):
    """The engine was restarted and the vector index went with it; fill it again."""


class NoModel(EngineError, code="no_model"):
    """No model is loaded in this session."""


class Disposed(EngineError, code="disposed"):
    """The session, loader or worker was disposed before the call."""


class ModelInvalid(EngineError, code="model_invalid"):
    """The model's files were verified but cannot be run."""


class UnsupportedTensorType(EngineError, code="tensor_type_unsupported"):
    """A weight is stored in a form that this EdgeNet cannot read."""


class OutputNotFinite(EngineError, code="output_not_finite"):
    """The model answered NaN or an infinity; nothing was stored."""


class TrainingDiverged(EngineError, code="training_diverged"):
    """The loss is no longer a number; training stopped at `step` and the last good checkpoint is kept."""


class EngineDeadline(EngineError, code="engine_deadline"):
    """The engine did not answer in time and was stopped."""


class WorkerDied(EngineError, code="worker_died"):
    """A worker ended while calls were waiting."""


class WorkerProtocolError(EngineError, code="worker_protocol"):
    """A message to or from a worker has an unknown kind or shape."""


class UnknownKind(WorkerProtocolError, code="unknown_kind"):
    """A worker was asked for a kind of work that it does not do."""


class PythonBootFailed(EngineError, code="python_boot_failed"):
    """Python could not be started in the page; search still works, teaching does not."""


# --- kernels: what a call can meet -----------------------------------------------------------------------------------
class KernelError(EngineError, code="kernel"):
    """A kernel call failed."""


class EpochDeadline(KernelError, code="kernel_deadline"):
    """A kernel ran past its deadline and was stopped."""


class MemoryAccessViolation(KernelError, code="kernel_memory_access"):
    """A kernel touched memory that is not its own; `details.offset`, `details.size`."""


class IntegerOverflow(KernelError, code="kernel_integer_overflow"):
    """A kernel divided by zero or overflowed a conversion."""


class Unreachable(KernelError, code="kernel_unreachable"):
    """A kernel reached an `unreachable` instruction."""


class StackOverflow(KernelError, code="kernel_stack_overflow"):
    """A kernel exhausted its stack."""


class IndirectCallTypeMismatch(KernelError, code="kernel_indirect_call"):
    """A kernel made an indirect call of the wrong type."""


class KernelTrap(KernelError, code="kernel_trap"):
    """A kernel trapped, or returned an error code; `details.returned`."""


class KernelNotFound(KernelError, code="kernel_not_found"):
    """The active pack has no kernel of this id."""


class InvalidParameters(KernelError, code="kernel_parameters"):
    """A parameter is missing, of the wrong type, or outside its limits."""


class ShapeMismatch(KernelError, code="kernel_shape"):
    """An input's or output's shape does not fit the kernel."""


class DTypeMismatch(KernelError, code="kernel_dtype"):
    """An input's or output's dtype does not fit the kernel."""


class AllocationFailed(KernelError, code="kernel_allocation"):
    """The kernel's memory limit is too small for this call."""


class InitializationFailed(KernelError, code="kernel_initialization"):
    """A kernel's module could not be instantiated or initialised."""


class UnsupportedFeature(KernelError, code="kernel_unsupported_feature"):
    """A kernel needs a feature that this runtime lacks."""


# --- kernel packs: why one is refused --------------------------------------------------------------------------------
class PackError(EdgeNetError, code="pack", exit_status=4):
    """A kernel pack is refused; the previous or bundled one stays."""


class NoTrustedKey(PackError, code="pack_no_trusted_key"):
    """No trusted key may sign kernels."""


class InvalidSignature(PackError, code="pack_signature"):
    """The pack's signature does not fit."""


class PackHashMismatch(PackError, code="pack_hash_mismatch"):
    """A kernel module has another hash than the pack says."""


class InvalidPack(PackError, code="pack_invalid"):
    """`kernels.json` does not follow its schema."""


class VersionIncompatible(PackError, code="pack_version"):
    """The pack's version gate cannot be read or satisfied."""


class RuntimeTooOld(PackError, code="pack_runtime_too_old"):
    """The pack wants a newer EdgeNet."""


class RuntimeTooNew(PackError, code="pack_runtime_too_new"):
    """The pack wants an older EdgeNet."""


class MissingFeature(PackError, code="pack_missing_feature"):
    """The pack needs a feature that this platform lacks."""


class NotInAllowlist(PackError, code="pack_not_in_allowlist"):
    """The allowlist does not name this kernel with this hash."""


class PackIoError(PackError, code="pack_io"):
    """A file of the pack cannot be read."""


class PackKeyError(PackError, code="pack_key"):
    """A key or signature of the pack is malformed."""


class HealthCheckFailed(PackError, code="pack_health_check"):
    """A kernel's result differs from its reference."""


# --- cancelled -------------------------------------------------------------------------------------------------------
class AbortError(EdgeNetError, code="aborted", exit_status=130):
    """The caller's `AbortSignal` or cancel token fired."""
