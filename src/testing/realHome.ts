/**
 * For tests on real models, by import: `LOAM_HOME` is that of the person again. `scripts/test.mjs` gives all tests another one, so that what
 * they leave behind stays out of the person's own folder, and keeps this one in `LOAM_TEST_HOME`; empty if there was none.
 */
const { LOAM_TEST_HOME: home } = process.env;
if (home) process.env.LOAM_HOME = home;
else if (home === '') delete process.env.LOAM_HOME;
