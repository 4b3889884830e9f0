import Type, { type Static } from 'typebox';
import { Id, Name, Sha256, Time } from './common.js';

/** Who may come in: the owner's pages, which prove that they know the pairing secret, and programs with API keys. */

export const HelloAnswer = Type.Object({
  start: Type.String({ description: 'Of this start of the server.' }),
  until: Type.Integer({ description: 'End of sessions that begin now, in seconds since 1970.' }),
  proof: Sha256,
});
export const Nonce = Type.String({ pattern: '^[A-Za-z0-9_-]{16,64}$' });

/** `chat`: the model list, chat completions and completions. `work`: also reading, adding data, tuning. */
export const KeyScope = Type.Enum(['chat', 'work']);
export type KeyScope = Static<typeof KeyScope>;

export const KeyInput = Type.Object(
  {
    name: Name,
    scope: Type.Optional(KeyScope),
    adapter: Type.Optional(Type.String({ ...Id, description: 'The only adapter that it may talk to.' })),
    days: Type.Optional(Type.Integer({ minimum: 1, maximum: 3650, description: 'Until it ends.' })),
  },
  { additionalProperties: false },
);
export type KeyInput = Static<typeof KeyInput>;

export const ApiKey = Type.Object({
  id: Id,
  name: Type.String(),
  scope: KeyScope,
  adapter: Type.Optional(Id),
  createdAt: Time,
  usedOn: Type.Optional(Type.String({ description: 'The day of its last use.' })),
  endsAt: Type.Optional(Time),
});
export type ApiKey = Static<typeof ApiKey>;

/** The key itself is shown once: the server keeps its hash. */
export const NewApiKey = Type.Object({ ...ApiKey.properties, key: Type.String() });
export type NewApiKey = Static<typeof NewApiKey>;

export const ApiKeyList = Type.Object({ keys: Type.Array(ApiKey) });

/** As they lie on the disk. */
export const KeyFile = Type.Object({
  version: Type.Literal(1),
  keys: Type.Array(Type.Object({ ...ApiKey.properties, sha256: Sha256 })),
});
export type KeyFile = Static<typeof KeyFile>;
