import type { AnyRoute } from './route.js';
import { adapterRoutes } from './routes/adapters.js';
import { chatRoutes } from './routes/chat.js';
import { datasetRoutes } from './routes/datasets.js';
import { jobRoutes } from './routes/jobs.js';
import { modelRoutes } from './routes/models.js';
import { openAiRoutes } from './routes/openai.js';
import { openapiRoute, optionRoutes } from './routes/options.js';
import { settingRoutes } from './routes/settings.js';
import { statusRoutes } from './routes/status.js';
import { vaultRoutes } from './routes/vault.js';
import type { Services } from './Services.js';

/** Every route but those of the page's files. */
export const apiRoutes: readonly AnyRoute<Services>[] = [
  ...statusRoutes,
  ...vaultRoutes,
  ...modelRoutes,
  ...datasetRoutes,
  ...optionRoutes,
  ...jobRoutes,
  ...adapterRoutes,
  ...chatRoutes,
  ...settingRoutes,
  ...openAiRoutes,
  openapiRoute(() => apiRoutes),
];
