/** The two curves of a course as shapes: where their lines run, which numbers stand at the axes, what the table says. Pure. */

const MARGIN = { left: 40, right: 10, top: 10, bottom: 24 };
const MOST = 240; // points of a line: more than a screen shows
const ROWS = 12; // of the table where nothing was validated
const STEPS = [1, 2, 2.5, 5, 10];

/** @typedef {[step: number, loss: number]} Point */

/**
 * @param {{train: Point[], validation: Point[], of: number}} course @param {{width: number, height: number}} size
 * @returns {{lines: {kind: string, path: string, end: {x: number, y: number}}[], dots: {x: number, y: number}[], xTicks: {value: number, at: number}[], yTicks: {value: number, at: number}[], rows: {step: number, train: number | null, validation: number | null}[]}}
 */
export function curve({ train, validation, of }, { width, height }) {
  const smooth = smoothed(train);
  const losses = [...smooth, ...validation].map(([, loss]) => loss).filter(Number.isFinite);
  const yTicks = ticks(Math.min(...losses), Math.max(...losses), 4);
  const last = Math.max(of, 1);
  const [low, high] = [yTicks[0], yTicks.at(-1)];
  const x = (step) => round(MARGIN.left + (step / last) * (width - MARGIN.left - MARGIN.right));
  const y = (loss) => round(MARGIN.top + (1 - (loss - low) / (high - low)) * (height - MARGIN.top - MARGIN.bottom));
  const line = (kind, points) => ({ kind, path: points.map(([step, loss], i) => `${i ? "L" : "M"}${x(step)} ${y(loss)}`).join(""), end: points.length ? { x: x(points.at(-1)[0]), y: y(points.at(-1)[1]) } : null });
  const steps = ticks(0, last, 4).filter((value) => Number.isInteger(value) && last - value > last / 8);
  return {
    lines: [line("train", thinned(smooth)), line("validation", validation)].filter(({ path }) => path),
    dots: validation.map(([step, loss]) => ({ x: x(step), y: y(loss) })),
    xTicks: [...steps, last].map((value) => ({ value, at: x(value) })),
    yTicks: yTicks.map((value) => ({ value, at: y(value) })),
    rows: table(train, validation),
  };
}

const round = (n) => Math.round(n * 10) / 10;

/** A single step's loss says more of its row than of the model: a running mean of a tenth of the course. @param {Point[]} points @returns {Point[]} */
export function smoothed(points) {
  const reach = Math.min(20, Math.max(1, Math.round(points.length / 10)));
  let sum = 0;
  return points.map(([step, loss], i) => {
    sum += loss - (i >= reach ? points[i - reach][1] : 0);
    return [step, sum / Math.min(i + 1, reach)];
  });
}

/** @param {Point[]} points */
const thinned = (points) => {
  const every = Math.ceil(points.length / MOST);
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
};

/** Round numbers from at most `low` to at least `high`, about `count` of them. @param {number} low @param {number} high @param {number} count */
function ticks(low, high, count) {
  if (!Number.isFinite(low)) return [0, 1];
  const rough = Math.max((high - low) / count, 1e-3);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * STEPS.find((one) => one * power >= rough * (1 - 1e-9));
  const first = Math.floor(low / step + 1e-9);
  const many = Math.max(1, Math.ceil(high / step - 1e-9) - first);
  return Array.from({ length: many + 1 }, (_, i) => Number(((first + i) * step).toPrecision(8)));
}

/** A row for each validation with the mean of the training since the one before; without any, for each twelfth of the course. */
function table(train, validation) {
  const every = Math.max(1, Math.ceil(train.length / ROWS));
  const looks = validation.length ? validation : train.filter((_, i) => i % every === every - 1).map(([step]) => [step, null]);
  return looks.map(([step, loss], i) => {
    const since = i ? looks[i - 1][0] : -1;
    const part = train.filter(([at]) => at > since && at <= step).map(([, one]) => one);
    return { step, validation: loss, train: part.length ? part.reduce((a, b) => a + b) / part.length : null };
  });
}
