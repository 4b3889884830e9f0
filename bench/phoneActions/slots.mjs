// What stands in the slots of the requests: how it is said, and its value as an argument where that is another. Those of `unseen` are in no
// example that is learnt.

const same = (list) => list.map((said) => ({ said, value: said }));

/** 7:05 as "7:05", "7:05 am", "19:05", "7:05 pm". */
function times(hours, minutes) {
  return hours.flatMap((hour) =>
    minutes.flatMap((minute) => {
      const shown = `:${String(minute).padStart(2, '0')}`;
      const half = hour % 12 === 0 ? 12 : hour % 12;
      const [am, value] = [hour < 12 ? 'am' : 'pm', { hour, minute }];
      const plain = { said: `${hour}${shown}`, value };
      return [plain, { said: `${half}${minute === 0 ? '' : shown} ${am}`, value }];
    }),
  );
}

export const slots = {
  time: {
    learn: times([5, 6, 7, 8, 9, 14, 17, 20, 22], [0, 10, 15, 30, 45]),
    unseen: times([4, 10, 13, 19, 21], [5, 20, 30, 50]),
  },
  oclock: { learn: times([8, 9, 10, 12, 14, 15, 18], [0]), unseen: times([7, 11, 13, 16, 19], [0]) },
  minutes: {
    learn: [2, 3, 5, 8, 10, 12, 15, 20, 30, 45, 60].map((n) => ({ said: String(n), value: n })),
    unseen: [4, 6, 7, 18, 25, 35, 40, 90].map((n) => ({ said: String(n), value: n })),
  },
  percent: {
    learn: [5, 10, 20, 30, 40, 50, 60, 80, 90, 100].map((n) => ({ said: String(n), value: n })),
    unseen: [15, 25, 35, 55, 65, 70, 85, 95].map((n) => ({ said: String(n), value: n })),
  },
  on: { learn: ['on', 'off'].map((said) => ({ said, value: said === 'on' })) },
  camera: { learn: same(['front', 'back']) },
  way: { learn: same(['car', 'foot', 'bike']) },
  day: {
    learn: same(['Monday', 'Tuesday', 'Thursday', 'Friday', 'Sunday', '3 May', '21 June', '1 October', '14 January']),
    unseen: same(['Wednesday', 'Saturday', '8 March', '30 July', '12 November']),
  },
  person: {
    learn: same([
      'Anna',
      'Ben',
      'Mum',
      'Dr Okafor',
      'Uncle Pete',
      'Sofia',
      'the plumber',
      'Grandma',
      'Yusuf',
      'Mrs Lindqvist',
    ]),
    unseen: same(['Clara', 'Dad', 'Mr Novak', 'Aunt Rosa', 'Tariq', 'the dentist', 'Ingrid']),
  },
  task: {
    learn: same([
      'water the plants',
      'pay the rent',
      'call the bank',
      'take out the bins',
      'renew my passport',
      'feed the cat',
      'book a haircut',
    ]),
    unseen: same([
      'return the library books',
      'charge the bike',
      'buy stamps',
      'clean the filter',
      'pick up the parcel',
    ]),
  },
  event: {
    learn: same([
      'lunch with Sofia',
      'the team meeting',
      'yoga',
      'a dentist appointment',
      'choir practice',
      "Ben's birthday party",
      'parents evening',
    ]),
    unseen: same(['coffee with Tariq', 'the piano lesson', 'a haircut', 'the budget review', 'swimming']),
  },
  message: {
    learn: same([
      'I am on my way',
      'dinner is ready',
      'I will be ten minutes late',
      'the keys are under the mat',
      'happy birthday',
      'call me back when you can',
    ]),
    unseen: same([
      'the train is delayed',
      'I have booked the tickets',
      'we are out of milk',
      'see you at the station',
      'the meeting is moved',
    ]),
  },
  subject: {
    learn: same(['the invoice', 'next week', 'the broken heater', 'holiday plans', 'the contract', 'car insurance']),
    unseen: same(['the lease', 'the school trip', 'new prices', 'the garden fence', 'a refund']),
  },
  music: {
    learn: same([
      'jazz',
      'the Beatles',
      'some Mozart',
      'my running playlist',
      'soft piano',
      'reggae',
      'Billie Holiday',
    ]),
    unseen: same(['blues', 'Miriam Makeba', 'folk songs', 'my morning playlist', 'Bach']),
  },
  app: {
    learn: same(['Maps', 'the calculator', 'Photos', 'Calendar', 'the browser', 'Notes', 'Settings']),
    unseen: same(['Contacts', 'the compass', 'Files', 'the recorder', 'Clock']),
  },
  place: {
    learn: same(['Berlin', 'the station', 'Lisbon', 'Oslo', 'the city library', 'Nairobi', '12 Mill Lane', 'Kyoto']),
    unseen: same(['Vienna', 'the airport', 'Porto', 'the town hall', '7 Hill Road', 'Lima']),
  },
  phrase: {
    learn: same([
      'Good morning',
      'Where is the exit?',
      'Thank you very much',
      'How much is it?',
      'I am allergic to nuts',
      'See you soon',
    ]),
    unseen: same(['Good night', 'The bill, please', 'I am lost', 'Is it far?', 'It was delicious']),
  },
  language: {
    learn: same(['French', 'Spanish', 'German', 'Japanese', 'Turkish', 'Polish']),
    unseen: same(['Italian', 'Greek', 'Korean', 'Swedish']),
  },
  item: {
    learn: same(['milk', 'two lemons', 'batteries', 'a birthday card', 'toothpaste', 'bread', 'a raincoat', 'oats']),
    unseen: same(['eggs', 'dish soap', 'three onions', 'a screwdriver', 'coffee', 'candles']),
  },
  list: { learn: same(['shopping', 'packing', 'hardware', 'party']), unseen: same(['grocery', 'holiday']) },
};
