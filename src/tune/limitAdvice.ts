/** What helps against examples that are too long: the limit is the user's, or what the model was trained to read. */
export function limitAdvice(maxTokens: number, contextLength: number): string {
  return maxTokens < contextLength ? 'raise --max-tokens' : 'use a model with a longer context';
}
