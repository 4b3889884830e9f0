import { encodeDataset } from './DatasetViews.js';
import { editDataset } from './editDataset.js';
import { noteFindings } from './personalFindings.js';
import { requireDataset } from './routes/datasets.js';
import type { Services } from './Services.js';

const DEFAULT_NAME = 'From chats';

/** Adds an example to a data set, or to the one of a name, which is made where there is none. @returns its id */
export async function keepExample(
  services: Services,
  example: { instruction: string; input: string; output: string },
  { dataset, datasetName = DEFAULT_NAME }: { dataset?: string; datasetName?: string },
): Promise<string> {
  const { vault } = services;
  const known =
    dataset === undefined
      ? vault.datasets.list().find(({ name }) => name === datasetName)
      : requireDataset(services, dataset);
  let id = known?.id;
  if (id === undefined) {
    const added = await vault.datasets.add(datasetName, encodeDataset([example]));
    await noteFindings(vault, services.datasets, added);
    id = added.id;
  } else {
    await editDataset(services, id, { add: [example] });
  }
  services.changed('datasets');
  return id;
}
