/**
 * A model's Jinja template, run as what it is: a stranger's program. Runs anywhere; twin of `pysrc/edgenet/text/templates.py`.
 * `@huggingface/jinja` interprets it and gives it nothing but its values; what we add is an allowance that every step and every text spends, so
 * that nothing runs for ever and nothing grows without bound.
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { ChatTemplateInvalid, ChatTemplateRefused, EdgeNetError, MessagesRefused } from "../sdk/errors.js";

const LONGEST_TEMPLATE = 400_000; // characters
const LONGEST_BLANK = 4_000; // white space in a row: the library's reading of it is quadratic
const ALLOWANCE = 4_000_000; // one for each step, and for each character or item that a step makes
const PER_CHARACTER = 40; // more for each character of the messages: templates read them several times
const LARGEST = 4_000_000; // characters or items of one value
const MOST_MADE = 2 ** 26; // characters that one replacement, joining or indenting could make
const TURN = 40; // what one turn of a loop costs beside its steps
const LONGEST_RANGE = 100_000;
const NESTS = new Set(["ArrayLiteral", "TupleLiteral", "ObjectLiteral"]); // where values that hold others come from
const MULTIPLYING = new Set(["replace", "join", "indent", "tojson"]);
// filters whose work grows with the number of items, not with what they hold
const SHALLOW = new Set(
  "abs attr batch count d default first float int items last length list map reject rejectattr reverse round select selectattr slice".split(" "),
);

/**
 * The text that `template` makes of `values` (JSON data). Throws ChatTemplateInvalid when it cannot be read or fails, ChatTemplateRefused when it
 * passes a limit, MessagesRefused when it calls `raise_exception`.
 * @param {string} template @param {Record<string, unknown>} values @param {Date} [now] what `strftime_now` prints
 * @returns {string}
 */
export function runTemplate(template, values, now = new Date()) {
  refuseSize(template);
  try {
    const program = parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }));
    return new Metered(environment(values, now), values).run(program).value;
  } catch (error) {
    if (error instanceof EdgeNetError) throw error;
    if (error instanceof RangeError) throw refused("runs too deep or makes a text out of all bounds");
    throw new ChatTemplateInvalid(`The chat template cannot be used: ${error.message}. Use another model file.`);
  }
}

const refused = (what) => new ChatTemplateRefused(`The chat template ${what}. Use another model file.`);

function refuseSize(template) {
  if (template.length > LONGEST_TEMPLATE) throw refused(`has ${template.length} characters; at most ${LONGEST_TEMPLATE} are read`);
  if (new RegExp(`\\s{${LONGEST_BLANK}}`).test(template)) throw refused(`holds ${LONGEST_BLANK} blanks in a row`);
}

/** What a template finds beside its values. */
function environment(values, now) {
  const environment = new Environment();
  const constants = { true: true, True: true, false: false, False: false, none: null, None: null };
  const functions = { raise_exception: raise, range, strftime_now: (pattern) => strftime(now, pattern) };
  for (const [name, value] of Object.entries({ ...constants, ...functions, ...values })) environment.set(name, value);
  return environment;
}

function raise(message = "") {
  throw new MessagesRefused(`The model's chat template refuses these messages: ${message}`, { reason: String(message) });
}

function range(first, last, step = 1) {
  const [from, to] = last === undefined || last === null ? [0, first] : [first, last];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= LONGEST_RANGE)) throw refused(`counts to more than ${LONGEST_RANGE}`);
  return Array.from({ length: count }, (_, i) => from + i * step);
}

const Base = /** @type {any} */ (Interpreter); // the methods below are private in its types; the version is pinned

/** An interpreter whose every step spends from an allowance. */
class Metered extends Base {
  constructor(environment, values) {
    super(environment);
    this.left = ALLOWANCE + PER_CHARACTER * JSON.stringify(values).length;
  }

  evaluate(statement, environment) {
    this.spend(1);
    const made = super.evaluate(statement, environment);
    const size = made.value?.length ?? 0;
    if (size > LARGEST) throw refused(`makes values of more than ${LARGEST} characters`);
    this.spend(NESTS.has(statement?.type) ? weight(made) : size >> 4);
    return made;
  }

  evaluateMemberExpression(member, environment) {
    const name = member.computed ? "" : String(member.property.value);
    if (name.startsWith("__")) throw refused(`reaches for "${name}"`);
    return super.evaluateMemberExpression(member, environment);
  }

  /** The library prepares every turn before the first: they are paid for before. */
  evaluateFor(loop, environment) {
    const { iterable } = loop;
    const { value } = this.evaluate(iterable.type === "SelectExpression" ? iterable.lhs : iterable, environment);
    this.spend(TURN * (value?.length ?? value?.size ?? 0));
    return super.evaluateFor(loop, environment);
  }

  evaluateCallExpression(call, environment) {
    const { object, property, computed } = call.callee;
    if (object && !computed && MULTIPLYING.has(property.value)) this.bound([object, ...call.args], environment);
    return super.evaluateCallExpression(call, environment);
  }

  applyFilter(operand, filter, environment) {
    const name = filter.type === "CallExpression" ? filter.callee.value : filter.value;
    const size = SHALLOW.has(name) ? (operand.value?.length ?? 1) : weight(operand);
    this.spend(size);
    if (filter.type === "CallExpression" && MULTIPLYING.has(name)) this.bound(filter.args, environment, size);
    return super.applyFilter(operand, filter, environment);
  }

  /** What multiplies makes at most the product of what it is given: every letter replaced by a text. */
  bound(nodes, environment, product = 1) {
    for (const node of nodes) {
      const value = this.evaluate(node.type === "KeywordArgumentExpression" ? node.value : node, environment);
      product *= typeof value.value === "number" ? Math.max(1, Math.abs(value.value)) : weight(value);
    }
    if (product > MOST_MADE) throw refused("would make a text out of all bounds");
  }

  spend(amount) {
    this.left -= amount;
    if (this.left < 0) throw refused("does more work than any real one: it may never end");
  }
}

/** How much a value holds: characters and items, shared ones as often as they would be written. */
function weight(value) {
  let total = 0;
  for (const stack = [value]; stack.length; ) {
    const { value: inner } = stack.pop() ?? {};
    total += typeof inner === "string" ? inner.length + 1 : 1;
    if (inner instanceof Map) for (const [key, item] of inner) [(total += key.length), stack.push(item)];
    else if (Array.isArray(inner)) for (const item of inner) stack.push(item);
    if (total > LARGEST) throw refused(`makes values of more than ${LARGEST} characters`);
  }
  return total;
}

const MONTHS = "January February March April May June July August September October November December".split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");
const two = (n) => String(n).padStart(2, "0");

/** Python's `strftime` in the C locale, for the directives that templates use. @type {Record<string, (d: Date) => string>} */
const DIRECTIVES = {
  Y: (d) => String(d.getFullYear()),
  y: (d) => two(d.getFullYear() % 100),
  m: (d) => two(d.getMonth() + 1),
  d: (d) => two(d.getDate()),
  B: (d) => MONTHS[d.getMonth()],
  b: (d) => MONTHS[d.getMonth()].slice(0, 3),
  A: (d) => DAYS[d.getDay()],
  a: (d) => DAYS[d.getDay()].slice(0, 3),
  H: (d) => two(d.getHours()),
  I: (d) => two(d.getHours() % 12 || 12),
  p: (d) => (d.getHours() < 12 ? "AM" : "PM"),
  M: (d) => two(d.getMinutes()),
  S: (d) => two(d.getSeconds()),
  "%": () => "%",
};

/** @param {Date} date @param {string} pattern */
const strftime = (date, pattern) => pattern.replace(/%(.)/g, (whole, letter) => DIRECTIVES[letter]?.(date) ?? whole);
