/** Notes to try the search with before adding one's own, written for this purpose. The questions share hardly a word with the notes that answer them. */

const NOTES = {
  "Boiler.md": `# Boiler

The heating in the flat is a combi boiler from 2014. When the pressure gauge falls below 1 bar it switches itself off and shows F22. Open both taps under the casing slowly until the needle stands at 1.5, then close them again and press reset.

Radiators that stay cold at the top have air in them. Bleed them with the small brass key that hangs inside the meter cupboard, starting on the lowest floor.

The yearly service is due in September. Last time the engineer replaced the fan and left a two-year guarantee on it.`,
  "Sourdough.md": `# Sourdough, the version that works

Feed the starter the evening before: 20 g of the old one, 60 g of water, 60 g of strong flour. It must have doubled by morning, otherwise wait.

Mix 450 g flour, 320 g water and 100 g starter. Rest an hour, then 9 g salt. Fold four times, half an hour apart. The dough is ready when it wobbles and holds a fingerprint.

Shape, leave it in the fridge overnight, bake straight from the cold: 25 minutes with the lid at 240 degrees, 20 without. A flat loaf means it stood too long; a dense one, not long enough.`,
  "Lisbon in May.txt": `Lisbon, four days in May.

We stayed near the Graça viewpoint, up a hill that no suitcase should see. Tram 28 is lovely before eight in the morning and a sardine tin afterwards.

The best meal was in a room without a sign behind the market: grilled fish, a jug of green wine, eleven euros each. The tile museum is far out and worth it, go on a rainy day.

Take the train to Sintra early and walk up to the palace through the woods instead of queueing for the bus. Bring a jumper, it is ten degrees cooler in the mist.`,
  "Mira - school.md": `# Mira, school year

- Parents' evening on the second Thursday of November. Ms Okafor has the class for maths and science.
- She reads far ahead of her age and gets bored in lessons; agreed that she may choose a book when her work is done.
- Allergic to hazelnuts. The office has the pen and a letter from the doctor, renew both in February.
- Swimming on Wednesdays, needs goggles and a dry towel. The bus leaves at 13:10 sharp.`,
  "Bike.txt": `The chain skips under load in the two smallest gears. Measured wear at 0.9 percent, so chain and cassette have to be changed together; the shop quoted 85 for parts.

Front brake squeals when it is wet. Cleaned the disc with alcohol and roughened the pads with sandpaper, silent since.

Tyres: 2.8 bar in the back, 2.4 in front for my weight. Pinched two inner tubes last year with less.`,
  "Talk - how memory fades.md": `# Notes from a talk on memory

We lose most of what we learn within days, along a curve that is steep at first and then flat. Every time we pull something out of our head ourselves, the curve gets flatter. Reading it again hardly helps, although it feels as if it did.

What follows: test yourself early, then at growing distances. Mix subjects rather than finishing one after the other. Sleep between two attempts does part of the work.

The speaker keeps a box of cards and spends fifteen minutes on it each morning, before the post.`,
  "Tomatoes.md": `# Tomatoes on the balcony

Last year the leaves turned brown from below in July, after two weeks of rain: blight. This year they stand under the roof and get water only at the foot, never from above.

Pinch out the side shoots while they are still small. Two stems for the cherry sort, one for the ox-heart.

Yellow edges in June were a lack of magnesium, a spoon of Epsom salt per can fixed it within ten days.`,
  "Insurance and papers.txt": `Where things are.

Contents insurance: blue folder, second shelf. Covers burst pipes and theft of bicycles from a locked cellar up to 2,000; not from the street.

The passports run out in March 2031, Mira's already in August 2028. Photographs may not be older than six months.

Tax return: adviser wants everything by the end of May. Receipts for the study at home go in the envelope marked W.`,
  "Team retrospective.md": `# Retrospective, spring

What went well: the release was boring, in the best sense. Pairing on the import bugs cut the queue in half.

What did not: too many decisions were taken in the corridor, and people working from home heard of them last. We agreed to write every decision in the log the same day, three lines are enough.

To try until summer: no meetings before ten, and one afternoon a week without messages.`,
  "Knee.txt": `Physiotherapy for the left knee. The pain below the kneecap comes from doing too much too soon, not from damage; the scan was clean.

Slow squats on a slope, three times fifteen, every second day. It may hurt up to three out of ten while doing them and must be gone by the next morning.

Running again from week six: one minute walking, two minutes jogging, twenty minutes in all. Stairs are fine, deep crouching is not yet.`,
  "Presents.md": `# Ideas for presents

- Dad: the good secateurs, he borrows ours every spring. Or a day at the sheepdog trials.
- Jonas: a headlamp with a red light for looking at stars. He has outgrown the small telescope.
- Aunt Ruth: nothing that gathers dust. Theatre subscription, two seats, so that she takes Hilde along.
- Mira: her own library card holder, walkie-talkies, a proper kite.`,
  "The neighbours upstairs.txt": `They practise the trumpet between seven and eight in the evening, which the house rules allow. I asked whether Sundays could stay free and they agreed at once.

Water came through our bathroom ceiling in January. It was the seal of their shower tray; their landlord paid for the painting. Photographs are on the old laptop in the folder "ceiling".

They feed our cat when we are away, and we take in their parcels.`,
};

export const SAMPLE_NOTES = Object.entries(NOTES).map(([name, text]) => ({ name, text, type: name.endsWith(".md") ? "md" : "txt" }));

/** Questions to start with. */
export const SAMPLE_QUESTIONS = [
  "why is my flat freezing",
  "how do I study so that it sticks",
  "something for a child who loves astronomy",
  "what to do about a noisy brake",
];
