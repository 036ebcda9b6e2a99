/**
 * The tensor types of ggml: name, number in a file, and how many weights share how many bytes. Runs anywhere.
 * Twin of `pysrc/edgenet/formats/types.py`; a test compares the two.
 */

/** @typedef {{name: string, id: number, elements: number, bytes: number}} TensorType */

const ROWS = /** @type {[string, number, number, number][]} */ ([
  ["f32", 0, 1, 4],
  ["f16", 1, 1, 2],
  ["q4_0", 2, 32, 18],
  ["q4_1", 3, 32, 20],
  ["q5_0", 6, 32, 22],
  ["q5_1", 7, 32, 24],
  ["q8_0", 8, 32, 34],
  ["q8_1", 9, 32, 40],
  ["q2_k", 10, 256, 84],
  ["q3_k", 11, 256, 110],
  ["q4_k", 12, 256, 144],
  ["q5_k", 13, 256, 176],
  ["q6_k", 14, 256, 210],
  ["q8_k", 15, 256, 292],
  ["iq2_xxs", 16, 256, 66],
  ["iq2_xs", 17, 256, 74],
  ["iq3_xxs", 18, 256, 98],
  ["iq1_s", 19, 256, 50],
  ["iq4_nl", 20, 32, 18],
  ["iq3_s", 21, 256, 110],
  ["iq2_s", 22, 256, 82],
  ["iq4_xs", 23, 256, 136],
  ["i8", 24, 1, 1],
  ["i16", 25, 1, 2],
  ["i32", 26, 1, 4],
  ["i64", 27, 1, 8],
  ["f64", 28, 1, 8],
  ["iq1_m", 29, 256, 56],
  ["bf16", 30, 1, 2],
  ["tq1_0", 34, 256, 54],
  ["tq2_0", 35, 256, 66],
  ["mxfp4", 39, 32, 17],
  ["nvfp4", 40, 64, 36],
  ["q1_0", 41, 128, 18],
]);
/** @type {Map<number, TensorType>} */
export const BY_ID = new Map(ROWS.map(([name, id, elements, bytes]) => [id, { name, id, elements, bytes }]));

/** `general.file_type`: what a maker calls the mix of types in a file. @type {Record<number, string>} */
export const FILE_TYPES = {
  0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S",
  15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S",
  25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
  39: "NVFP4", 40: "Q1_0",
};
