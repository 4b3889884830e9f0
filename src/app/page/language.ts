import { isLanguage, type Language, languageOf, placeOf, setLanguage } from '../logic/language.js';
import { keep, readKept } from './browser.js';

/** The language of the page: as the browser says, unless the person chose. English is in the code; of the others one catalogue is loaded. */

export type LanguageChoice = Language | 'auto';

const keptName = 'loam-language';

export function getLanguage(): LanguageChoice {
  const kept = readKept(keptName);
  return isLanguage(kept) ? kept : 'auto';
}

/** Loads the texts of the language that holds now. If they cannot be had, the page is English. */
export async function loadLanguage(choice: LanguageChoice = getLanguage()): Promise<void> {
  const wishes = navigator.languages;
  const wanted = choice === 'auto' ? languageOf(wishes) : choice;
  const texts = wanted === 'en' ? {} : await catalogueOf(wanted);
  const language = texts ? wanted : 'en';
  setLanguage(language, placeOf(language, wishes), texts ?? {});
  document.documentElement.lang = language;
}

export async function chooseLanguage(choice: LanguageChoice): Promise<void> {
  keep(keptName, choice === 'auto' ? null : choice);
  await loadLanguage(choice);
  dispatchEvent(new Event('loam-language'));
}

async function catalogueOf(language: Language): Promise<Record<string, string> | undefined> {
  const path = `/languages/${language}.json`;
  const load = async () => {
    const answer = await fetch(path);
    return answer.ok ? ((await answer.json()) as Record<string, string>) : undefined;
  };
  // A first visit loads it before the service worker is there to keep it.
  const { serviceWorker } = navigator;
  if (serviceWorker && !serviceWorker.controller) {
    serviceWorker.addEventListener('controllerchange', () => void load().catch(() => {}), { once: true });
  }
  return await load().catch(() => undefined);
}
