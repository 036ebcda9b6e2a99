/** EdgeNet's version; a test compares it with the Python package's. Runs anywhere. */
export const VERSION = "0.1.0";
