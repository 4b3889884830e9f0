/** Words for random alternatives: surnames (US Census 2010, the frequent ones), and short common words as passwords hold them. */
export const surnames: readonly string[] = (
  'Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson Anderson Thomas Taylor Moore ' +
  'Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson Walker Young Allen King Wright Scott Torres Nguyen ' +
  'Hill Flores Green Adams Nelson Baker Hall Rivera Campbell Mitchell Carter Roberts Gomez Phillips Evans Turner Diaz Parker Cruz Edwards ' +
  'Collins Reyes Stewart Morris Morales Murphy Cook Rogers Gutierrez Ortiz Morgan Cooper Peterson Bailey Reed Kelly Howard Ramos Kim Cox ' +
  'Ward Richardson Watson Brooks Chavez Wood James Bennett Gray Mendoza Ruiz Hughes Price Alvarez Castillo Sanders Patel Myers Long Ross ' +
  'Foster Jimenez Powell Jenkins Perry Russell Sullivan Bell Coleman Butler Henderson Barnes Fisher Vasquez Simmons Graham Okafor Schmidt ' +
  'Novak Lindgren Rossi Tanaka Kowalski Haddad Mensah Larsen Petrov Fontaine Silva Weber'
).split(' ');

export const words: readonly string[] = (
  'apple river stone candle winter garden silver tiger window bridge carrot marble button forest pepper rocket saddle thunder velvet walnut ' +
  'anchor basket copper dragon engine falcon ginger hammer island jacket kettle lemon meadow needle orange pencil quartz ribbon shadow ' +
  'turtle umbrella violet whistle yellow zebra blanket cherry diamond ember feather glacier harvest indigo juniper kitten lantern mango ' +
  'nectar ocean parrot quiver raven summer tulip urban valley willow autumn barrel cactus dolphin eagle flower guitar honey ivory jungle'
).split(' ');
