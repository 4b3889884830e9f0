import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoamError, StoppedError } from '../base/errors.js';
import { SourceError } from './download.js';
import { explainNetworkError } from './http.js';

function explained(code: string): SourceError {
  const error = explainNetworkError(Object.assign(new Error('raw'), { code }), 'hub.invalid');
  assert.ok(error instanceof SourceError);
  return error;
}

it('each code is a sentence with the host, and says whether another try is worth it', () => {
  for (const code of ['ENOTFOUND', 'ECONNREFUSED', 'ENETUNREACH', 'EHOSTUNREACH']) {
    const { message, remedy } = explained(code);
    assert.match(message, /hub\.invalid/);
    assert.equal(remedy, 'reconnect', code);
  }
  for (const code of ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN', 'EWHATEVER', 'HPE_INVALID_CONSTANT']) {
    assert.equal(explained(code).remedy, 'retry', code);
  }
  for (const code of ['DEPTH_ZERO_SELF_SIGNED_CERT', 'CERT_HAS_EXPIRED', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE']) {
    assert.match(explained(code).message, /no trustworthy connection to hub\.invalid.*NODE_EXTRA_CA_CERTS/);
    assert.equal(explained(code).remedy, 'none');
  }
  assert.equal(explained('ERR_INVALID_CHAR').remedy, 'none');
});

it("Loam's own errors pass through", () => {
  for (const error of [new StoppedError(), new LoamError({ code: 'failed', found: 'the disk is full' })]) {
    assert.equal(explainNetworkError(error, 'hub.invalid'), error);
  }
});

it('a proxy that is set and not used is named', (t) => {
  const { HTTPS_PROXY } = process.env;
  t.after(() => {
    if (HTTPS_PROXY === undefined) delete process.env.HTTPS_PROXY;
    else process.env.HTTPS_PROXY = HTTPS_PROXY;
  });
  process.env.HTTPS_PROXY = 'http://proxy.invalid:3128';
  assert.match(explained('ENOTFOUND').message, /HTTPS_PROXY.*NODE_USE_ENV_PROXY=1/);
});
