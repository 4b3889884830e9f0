import { join } from 'node:path';
import { loamHome } from '../util/home.js';

/** Where models live: LOAM_HOME/models. `home` replaces LOAM_HOME. */
export function modelsFolder(home?: string): string {
  return home === undefined ? loamHome('models') : join(home, 'models');
}
