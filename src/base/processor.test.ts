import assert from 'node:assert/strict';
import { it } from 'node:test';
import { armProcessor, processorName } from './processor.js';

/** /proc/cpuinfo of arm64: cores by implementer and part, in the order of their numbers. */
const cpuinfo = (cores: [implementer: string, part: string][], end = '') =>
  cores
    .map(
      ([implementer, part], i) =>
        `processor\t: ${i}\nBogoMIPS\t: 38.40\nFeatures\t: fp asimd asimddp i8mm\nCPU implementer\t: ${implementer}\n` +
        `CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: ${part}\nCPU revision\t: 1\n`,
    )
    .concat(end)
    .join('\n');
const arm = (...list: string[]) => list.map((part): [string, string] => ['0x41', part]);

it('an Arm processor is named by its chip and its cores', () => {
  const gen2 = cpuinfo(arm('0xd46', '0xd46', '0xd46', '0xd4d', '0xd4d', '0xd47', '0xd47', '0xd4e'));
  assert.equal(
    armProcessor({ cpuinfo: gen2, soc: ['QTI\n', 'SM8550\n', 'kalama\n'] }),
    'QTI SM8550 (1 Cortex-X3, 2 Cortex-A710, 2 Cortex-A715, 3 Cortex-A510)',
  );
  assert.equal(
    armProcessor({
      cpuinfo: cpuinfo(
        [
          ['0x51', '0x805'],
          ['0x51', '0x804'],
        ],
        'Hardware\t: Qualcomm Technologies, Inc SM8250\n',
      ),
      soc: ['', '', ''],
    }),
    'Qualcomm Technologies, Inc SM8250 (1 Kryo 4xx Gold, 1 Kryo 4xx Silver)',
  );
  assert.equal(
    armProcessor({
      cpuinfo: cpuinfo(arm('0xd0b', '0xd0b', '0xd0b', '0xd0b')),
      board: 'Raspberry Pi 5 Model B Rev 1.0\0',
    }),
    'Raspberry Pi 5 Model B Rev 1.0 (4 Cortex-A76)',
  );
  assert.equal(armProcessor({ cpuinfo: '', soc: ['Google', 'Tensor G3', 'zuma'] }), 'Google Tensor G3');
  assert.equal(armProcessor({ cpuinfo: '', soc: ['', '', 'mt6789\n'] }), 'mt6789');
});

it('cores that nobody has named keep their numbers, and a system that tells nothing has no name', () => {
  assert.equal(armProcessor({ cpuinfo: cpuinfo([['0x53', '0x004']]) }), '1 core 0x53/0x004');
  assert.equal(armProcessor({}), undefined);
  assert.equal(armProcessor({ cpuinfo: 'processor\t: 0\n', board: '\0' }), undefined);
  assert.notEqual(processorName(), '');
});
