"""Paediatrics: synthetic case records, phrase pools and note types."""

SOURCE = """\
%pool grade
{Consultant paediatrician|Community paediatrician|Paediatric registrar|Children's specialist nurse}
%pool caller
{Mum|Dad|Grandma|The foster carer|The school nurse|The childminder}
%pool allergy
{no known allergies|egg and cow's milk|amoxicillin caused a blotchy rash|peanuts and cashews}
%pool who
<boy> aged <age>
%pool comorbid
{The tonsils were removed last year|<He> had grommets at an early age|<He> had an umbilical hernia
  that closed by itself}.
{There is|The family mentioned} a {cousin|grandparent|distant relative} with {coeliac
  disease|hearing loss|epilepsy|a squint|a heart murmur|scoliosis}.
<He> {wears a patch for a lazy eye|has had molluscum spots|had croup once|has dry skin in the elbow
  creases|sees the dentist regularly}.
%pool formal
The {parents|family} were given the opportunity to ask questions, and all {questions|concerns} were
  answered.
{The parents were advised|The family were advised} to {seek urgent medical attention|call for
  advice} if the symptoms {get worse|do not improve} or if {any new symptoms develop|there are any
  other concerns}.
If you have any {questions|concerns} about {this letter|the treatment|the results}, please do not
  hesitate to {contact the department|call the secretary|speak to the nurse}.
{We will see <him> again|<He> will be reviewed} in {two|three|four|six} {weeks|months} to {check
  <his> progress|discuss the results|measure <his> height and weight}.
%pool recap
In summary, this is a <boy> aged <age> with <dx>.
{To summarise|In short}, this is a <boy> {who has|who is under our care with} <dx>.
The {diagnosis|working diagnosis} {remains|is} <dx>, and the {plan|treatment plan} {has not
  changed|is set out above|was discussed with the parents}.
%pool obs_baby
temp [36.5-37.8], heart rate [118-152], resps [32-48], sats [94-99]% in air, fontanelle
  {flat|soft}, cap refill under 2 seconds. {Smiling at mum|Asleep in the cot|Settled with a dummy}.
weight [3.9-8.8] kg, temp [36.6-38.0], pulse [116-148]. Wet nappies {x[3-6]|as usual},
  {breastfeeding on demand|taking [60-120] ml bottles}, {crying but consolable|asleep on dad}.
%pool dev_baby
<He> {smiles and coos|follows a rattle with <his> eyes|turns to <his> mother's voice|likes the
  mobile over the cot}, and <his> parents {have no worries about <his> hearing|feel that <he> is
  alert}.
<He> {sleeps in a crib next to <his> parents' bed|is carried in a sling most of the day|enjoys bath
  time|watches <his> sister for hours}, and {the newborn hearing test was passed|the newborn blood
  spot test was normal|breastfeeding is going well}.
%pool growth_baby
<His> weight is [3.9-8.8] kg, which is on the {9th|25th|50th|75th} centile, and <his> length
  follows the {25th|50th|91st} centile.
The red book shows {steady weight gain until this illness|that <he> regained <his> birth weight by
  day ten}, and the head circumference is {normal|on the 50th centile}.
%pool vacc_baby
{The vaccines due so far have been given|<His> first immunisations are booked with the practice
  nurse}, and {vitamin K was given at birth|the rotavirus drops were discussed|the parents had
  questions about meningitis B}.
%pool allergy_baby
{no known allergies|possible cow's milk intolerance|none known}
%pool explain_baby
{I explained to the parents|We told the family} that {this is common and very treatable|nobody is
  to blame|<he> is in the right place}, and {they were relieved|mum was tearful at first but then
  relieved|dad had a number of questions}.
%pool extra_baby
The parents {were given|have} {a leaflet|a written plan} and know to {come back|ring the children's
  ward} if <he> {is drowsy|takes less than half of the usual feeds|has fewer wet nappies|is working
  hard to breathe|turns blue around the lips}.
{The health visitor|The family nurse} will {weigh <him> again in a fortnight|visit at home next
  week|talk about feeding and safe sleep}.
<growth>
<dev>
<vacc>
%pool social_baby
<He> lives with {both parents and an older sister|mum and grandparents|two dads and a puppy}, and
  {nobody smokes indoors|dad smokes in the garden|there is some damp in the bedroom}. <dev>
{There are no safeguarding concerns|The family moved house recently|Mum's mood has been good since
  the birth}. <dev>
%pool greetline_baby
Thank you for referring this {lovely|contented|sleepy|fretful} baby <boy>, who came {with mum|with
  both parents|with dad and grandma} {today|on <date>}.
I {met|reviewed} this baby <boy>, now aged <age>, {in the children's outpatient department|at the
  baby clinic}.
%pool dev_teen
<He> {likes drawing and computer games|plays in the school orchestra|has a small group of close
  friends|looks after two rabbits}, and <his> parents {have no worries about <his>
  learning|describe <him> as rather private}.
<He> {goes to the local secondary school|is in the middle school|travels to school by bus}, where
  <he> {enjoys science|prefers art and drama|is preparing for exams|has had a good report}.
%pool growth_teen
<His> height follows the {25th|50th|91st} centile and puberty {has started|is in progress}, {in
  keeping with <his> age|as expected from the family pattern}.
%pool vacc_teen
{Immunisations are up to date|All routine vaccines have been given}, including {the HPV vaccine|the
  meningitis booster|the nasal flu spray}.
%pool obs_teen
temp [36.4-37.4], resps [14-20], sats [97-100]% in air, alert, {texting friends|reading a
  magazine|playing cards with a volunteer}. {Slept well|Visited by the hospital teacher}.
%pool explain_teen
{I spoke to <him> alone for part of the visit|I addressed the explanation to <him> first}, and
  {<he> asked sensible questions|<he> was quiet but clearly listening|<he> agreed with the plan}.
%pool extra_teen
{The school nurse|The hospital teacher} will {talk to the head of year|arrange work to be sent
  home|help with the return to lessons}.
The parents {were given|have} {a leaflet|a written plan} and know to {come back|ring the children's
  ward} if <he> {becomes drowsy|is sick repeatedly|has worsening pain|feels faint}.
<growth>
<dev>
<vacc>
%pool social_teen
<He> lives with {both parents and an older sister|mum and grandparents|a foster family}, and {there
  are no safeguarding concerns|the family has moved house recently}. <dev>
%pool greetline_teen
I {met|reviewed} this <boy>, now aged <age>, {in the young people's clinic|in the children's
  outpatient department}, {with mum|with both parents}.
%pool obs
temp [36.5-37.8], heart rate [92-138], resps [20-34], sats [94-99]% in air, cap refill under 2
  seconds. Alert and {playing with bricks|watching cartoons|smiling at the play specialist}.
weight [8.2-24.6] kg, temp [36.6-38.2], pulse [88-126]. Wet nappies {x[3-6]|as usual}, drinking
  {squash|milk from a beaker}, {clingy but consolable|asleep on mum}.
%pool growth
<His> weight is [9.4-28.8] kg, which is on the {9th|25th|50th|75th} centile for age, and <his>
  height follows the {25th|50th|91st} centile {as before|, in keeping with the parents}.
{The growth chart shows|When plotted,} {steady progress along|a slight fall from} the
  {25th|50th|75th} centile, and the head circumference is {normal|on the 50th centile}.
%pool dev
<He> {can build a tower of six bricks|draws a circle and names three colours|rides a tricycle|hops
  on one foot}, and <his> parents {have no worries about <his> hearing|feel that <his> speech is
  clear}.
<He> {goes to nursery three mornings a week|has just started reception class|is in a small class at
  school}, where <he> {has made friends|loves painting|is a little shy|enjoys the sand pit}.
%pool vacc
{Immunisations are up to date|All the routine vaccines have been given}, including {the MMR|the flu
  nasal spray|meningitis B|the pre-school booster}{|, with only a sore leg afterwards}.
{The second MMR was missed because of a cold|Mum was unsure about the rotavirus vaccine}, and {we
  have asked the practice nurse to catch up|we talked about it without any pressure}.
%pool extra
The parents {were given|have} {a leaflet|a written plan|a fever chart} and know to {come back|ring
  the children's ward} if <he> {is drowsy|stops drinking|has fewer wet nappies|is working hard to
  breathe|has a rash that does not fade under a glass}.
{The health visitor|The school nurse} will {weigh <him> again in a fortnight|visit at home next
  week|talk to the class teacher}.
{Ibuprofen and paracetamol can be given for discomfort|The dose has been worked out by weight and
  checked by the pharmacist|A sugar-free syrup was prescribed because <he> will not swallow
  tablets}.
{The play specialist|A clown doctor} {blew bubbles|read a story} during the blood test and <he>
  {earned two stickers|was very brave|hardly noticed}.
<growth>
<dev>
<vacc>
%pool social
<He> lives with {both parents and an older sister|mum and grandparents|two dads and a puppy|a
  foster family and their twins}, and {nobody smokes indoors|dad smokes in the garden|there is some
  damp in the bedroom}. <dev>
{<His> parents have separated and <he> spends weekends with dad|There are three siblings, all
  well|Mum is expecting another baby in the autumn}. {The family has a social worker|There are no
  safeguarding concerns|The family moved house recently}. <dev>
%pool greetline
Thank you for referring this {lovely|lively|chatty|sleepy} {little|young} <boy>, who came {with
  mum|with both parents|with dad and grandma} today.
I {met|reviewed} this <boy>, now aged <age>, {in the children's outpatient department|at the child
  health clinic}.
%pool explain
{I explained to the parents|We told the family} that {this is common and very treatable|most
  children grow out of it|nobody is to blame}, and {they were relieved|mum was tearful at first but
  then relieved|dad had a number of questions}.
{I drew a picture for <him>|I used a teddy to show <him> what will happen}, and <he>
  {giggled|listened carefully|wanted to do it too}.
%note growthclinic
{Child development clinic|Growth and nutrition clinic}, <date>
{Referred because of|Seen for review of} <dx>. Age: <age>.
Birth history: born at {term|[37-40] weeks} by {normal delivery|caesarean section|forceps
  delivery}, weighing [2.8-4.1] kg, and {went home after two days|spent a few days under the lights
  with jaundice|fed well from the start}.
{What the parents say|The story}: <pc> <social>
Growth: <growth>
{Development|Play and language}: <dev>
{Vaccines|Immunisations}: <vacc>
Findings: <ex>
{Conclusion|Summary}: <recap> <out> <rx>
%note familyletter
Letter to {parents|the family}
Dear {parents|mum and dad},
Thank you for bringing your {daughter|child|little one} to {see me|the clinic} {today|on <date>}.
  {As we discussed,|To remind you,} the diagnosis is <dx>.
{You told us the following.|This is what we understood.} <pc> {When we examined your child,|On
  examination,} <ex>
{You asked me|You also wanted to know}: "<ask>" {My answer was|I replied}: "<ans>"
{What happens next:|The plan:} <rx> <extra> <formal>
%case
vars: age=8 months|9 months|5 months|7 months; wk=2|3; stage=baby
dx: acute bronchiolitis
pc: <He> had <wk> days of runny nose and cough, followed by {noisy breathing|fast, wheezy
  breathing} and difficulty with feeds. <He> was taking less than half of <his> usual bottles.
hx: <He> was born at term and had {been well since|mild jaundice that needed no treatment}. An
  older brother at nursery has had a cold.
ex: <he> was tachypnoeic at [52-66] breaths a minute, with subcostal recession, fine crackles and
  wheeze throughout both lungs, and saturations of [88-91]% in air.
ix: The nasal swab was positive for respiratory syncytial virus. No chest X-ray or blood tests were
  needed.
rx: <He> was given humidified high-flow oxygen at [10-14] litres a minute and feeds through a
  nasogastric tube. Antibiotics were not given.
out: <He> was weaned off oxygen {after three days|over 48 hours} and is now finishing every bottle.
  The cough may last for another fortnight.
wr: Day 4 of bronchiolitis, less recession today. Tolerating two-hourly NG feeds, suction before
  feeds, oxygen weaned to 0.[1-5] L nasal cannula.
ask: <He> is still coughing at night and bringing up some of <his> milk. Should I give <him> a
  cough medicine?
ans: No, cough medicines do not help babies of this age. Try smaller feeds more often, and saline
  drops for <his> nose before each bottle.
%case
vars: age=4 years|5 years|6 years|7 years|8 years
dx: acute exacerbation of asthma
pc: This <boy> became wheezy after {a birthday party with a bouncy castle|stroking a neighbour's
  cat|a cold}, and needed <his> blue inhaler every {two|three} hours through the night.
hx: There have been [2-4] courses of prednisolone in the last year. <He> had eczema as a baby and
  dad has hay fever. The brown inhaler is often forgotten.
ex: <he> could only say a few words at a time, with tracheal tug, widespread wheeze and saturations
  of [89-92]%.
ix: Peak flow was [48-60] per cent of the best value and rose to [78-90] per cent after nebulisers.
  A chest X-ray was not indicated.
rx: <He> received burst therapy with salbutamol and ipratropium, three days of oral prednisolone,
  and then ten puffs of salbutamol through a spacer, stretched to four-hourly.
out: <His> inhaler technique is now excellent with the spacer, and there have been no night-time
  symptoms for a month.
wr: Stretched to 4-hourly salbutamol, no oxygen since midnight. Pred day 2 of 3. Asthma plan and
  spacer teaching done with parents.
ask: The teacher says that <he> is coughing in PE. How many puffs can <he> have before running
  about?
ans: Two puffs through the spacer ten minutes before exercise is fine. If <he> needs it every day,
  the preventer inhaler is not doing its job and we should review it.
%case
vars: age=2 years|3 years|4 years; tmp=38.8-40.1
dx: simple febrile convulsion
pc: <He> felt hot at nursery and then went stiff, rolled <his> eyes and shook all over for about
  {two|three} minutes. <He> was sleepy for half an hour, and the staff called an ambulance.
hx: Mum had a similar fit when she was a toddler. Development has been normal and <he> has never
  had a fit without a fever.
ex: temperature was <tmp>, the tonsils were red with white spots, both eardrums were pink, and
  there was no neck stiffness or rash.
ix: Blood glucose was [4.6-6.8] mmol/L and the urine dipstick was clear. A lumbar puncture was not
  needed.
rx: The family were taught first aid for seizures. Paracetamol is for comfort only and does not
  prevent another convulsion.
out: <He> was back to <his> usual mischievous self within four hours. About one in three children
  have another febrile fit, but the risk of epilepsy is low.
wr: No further seizures for [10-20] hours. Temp settling, running around the playroom, eating
  toast. Neuro exam normal.
ask: I am frightened to leave <him> alone at night. What do I do if it happens again?
ans: Lay <him> on <his> side, do not put anything in <his> mouth, and time it. If it lasts more
  than five minutes, call 999. It looks terrifying but it does not harm the brain.
%case
vars: age=9 years|10 years|11 years|12 years|13 years; glu=21-34; ph=7.08-7.24; stage=teen
dx: newly diagnosed type 1 diabetes with ketoacidosis
pc: <He> had been drinking from the tap at night and wetting the bed again for {two|three} weeks.
  <He> had lost weight, and on the day of admission was vomiting with tummy pain.
hx: <He> had been well before and plays {football|the trumpet|netball}. An aunt has coeliac
  disease.
ex: <he> was dehydrated and breathing deeply, with the smell of pear drops on <his> breath, but was
  fully conscious.
ix: Glucose was <glu> mmol/L, the pH was <ph>, and blood ketones were [4.2-6.4]. Antibodies to GAD
  were positive.
rx: Fluids were replaced slowly over 48 hours with an insulin infusion at 0.05 units per kg per
  hour. <He> then moved to {a basal-bolus regimen|an insulin pump} with carbohydrate counting and a
  glucose sensor.
out: The HbA1c has fallen to [48-57] mmol/mol, and <he> {can now calculate the dose for pizza|gives
  <his> own injections at school}.
wr: pH corrected, ketones [0.2-0.5], insulin infusion stopped one hour after subcut dose. Potassium
  [3.8-4.6]. Dietitian and diabetes nurse seeing the family.
ask: The sensor reads 3.2 and <he> is shaky and cross. Do I give insulin or food first?
ans: That is a hypo, so give four jelly babies or a small carton of juice now, and no insulin.
  Check again in fifteen minutes, and then give a biscuit.
%case
vars: age=5 weeks|6 weeks|4 weeks|7 weeks; cl=86-93; stage=baby
dx: hypertrophic pyloric stenosis
pc: This first-born baby had been vomiting after every feed for a week. The vomits were {forceful
  enough to reach the wall|like a fountain}, contained only milk, and <he> was hungry straight
  afterwards.
hx: <He> was thriving until three weeks of age. The grandfather needed an operation on his stomach
  as a baby.
ex: <he> looked thin and worried, with a sunken fontanelle. A small mass like an olive was felt in
  the upper abdomen during a test feed.
ix: The blood gas showed a metabolic alkalosis with chloride of <cl> mmol/L, and ultrasound showed
  a pyloric muscle [4.1-5.8] mm thick.
rx: Feeds were stopped and saline with dextrose and potassium was given until the chloride and
  bicarbonate were normal. The surgeon then carried out a pyloromyotomy.
out: <He> was feeding six hours after the operation and went home two days later. Weight gain has
  been [180-260] g a week since.
wr: Chloride up from <cl> to [99-104]. NG tube on free drainage, for theatre this afternoon.
  Parents have signed consent.
ask: <He> still brings up a mouthful of milk after some feeds. Has the operation failed?
ans: A little posseting is normal for a week or two because the stomach is still irritable. If it
  is forceful or green, please bring <him> in at once.
%case
vars: age=3 years|4 years|5 years; pl=6-19
dx: immune thrombocytopenia
pc: <His> parents noticed {bruises on the shins and back|tiny red spots on the legs} and a
  nosebleed lasting [15-40] minutes, about two weeks after {chickenpox|a sore throat}.
hx: There is no family history of bleeding. Non-accidental injury was considered and the social
  care check raised no concerns.
ex: there were numerous petechiae and bruises but no enlarged lymph nodes, liver or spleen, and
  <he> was cheerful.
ix: The platelet count was <pl>, with normal haemoglobin and white cells. The film showed large
  platelets and no blasts.
rx: We agreed to watch and wait, with no contact sports and no ibuprofen. Tranexamic acid mouthwash
  may be used for bleeding gums.
out: The platelet count rose to [112-230] after {six|eight} weeks and the bruising has disappeared.
wr: Plts <pl>, no mucosal bleeding since admission. Haem advice: no steroids at present. Home with
  open access.
ask: <He> bumped <his> head on the coffee table. There is a lump, but <he> is playing normally. Do
  I need to come in?
ans: Yes please, with a low platelet count we always want to check a head injury. Come to the
  children's assessment unit now, and call an ambulance if <he> vomits or becomes drowsy.
%case
vars: age=18 months|2 years|3 years
dx: iron deficiency anaemia due to excess cow's milk
pc: <He> was noticed to be pale and tired by {a visiting aunt|the nursery}. <He> drinks [3-5]
  bottles of cow's milk a day, refuses meat and has been eating {soil|paper|carpet fluff}.
hx: <He> was breastfed for six months, and weaning was slow because <he> disliked lumps. Teething
  has been difficult.
ex: <he> was pale with a soft flow murmur, there was no jaundice, and the spleen was not felt.
ix: Haemoglobin was [58-79] g/L with small pale cells, and ferritin was [2-6]. Sickle and
  thalassaemia screens were negative, as was the coeliac screen.
rx: We started iron syrup for three months and advised no more than 350 ml of milk a day from an
  open cup. The dietitian suggested {lentils and eggs|fortified cereal with orange juice}.
out: Haemoglobin was [108-121] g/L at six weeks, and mealtimes are calmer. <He> now eats fish
  fingers and peas.
wr: Hb [60-74], stable, not tachycardic, so no transfusion. Iron started. Stool for occult blood
  negative.
ask: <His> poo has turned black since starting the iron. Is that blood?
ans: No, that is just the iron and it is harmless. Give the syrup with a little juice through a
  straw, because it can stain the teeth.
%case
vars: age=6 years|7 years|8 years|9 years
dx: attention deficit hyperactivity disorder
pc: The school reports that <he> cannot sit through {story time|assembly}, interrupts the other
  children and loses <his> {jumper|reading book|lunch box} every week. At home <he> climbs the
  furniture and takes hours to fall asleep.
hx: <He> was a restless baby who walked at ten months. Dad recalls being the same at primary
  school. Hearing and eyesight are normal.
ex: <he> explored every drawer in the room and talked non-stop, but made good eye contact. Heart
  sounds and blood pressure were normal.
ix: The Conners questionnaires from parents and teachers were both in the very elevated range, and
  the classroom observation supported the diagnosis.
rx: The parents have joined a parenting group. We agreed on a trial of methylphenidate [5-10] mg in
  the morning, with checks of pulse, blood pressure, height and weight.
out: <His> teacher has noticed a big difference, and <he> was proud of a certificate for
  handwriting. Appetite is lower at lunch, but breakfast and supper are good.
wr: Admitted for tonsillectomy, ADHD known. Missed morning methylphenidate, very busy on the ward.
  One-to-one play support arranged.
ask: <He> hardly touches <his> lunch and <he> is awake until eleven. Is it the tablet?
ans: It can do both. Give a good breakfast before the tablet and an extra snack at bedtime, keep
  screens out of the bedroom, and we will review the dose next week.
%case
vars: age=7 months|10 months|14 months; crp=38-96; stage=baby
dx: febrile urinary tract infection
pc: <He> had a fever for two days with {irritability|vomiting} and smelly urine, but no cough or
  cold. <He> cried whenever <his> nappy was changed.
hx: The antenatal scans showed a mildly dilated kidney on the left. This is the first infection.
ex: <he> had a temperature of [38.5-39.7] but was well perfused, and the abdomen was soft with no
  palpable bladder.
ix: A clean-catch urine was positive for nitrites and leucocytes, and grew E. coli. CRP was <crp>
  mg/L. An ultrasound scan showed mild left hydronephrosis.
rx: Cefalexin was given for seven to ten days, with intravenous ceftriaxone for the first dose.
  Trimethoprim prophylaxis will continue until the bladder X-ray has been done.
out: The fever settled in 36 hours. The later DMSA scan showed no scarring, and prophylaxis has
  been stopped.
wr: Afebrile 24 h, feeding well, CRP down from <crp>. Urine: E. coli, resistant to trimethoprim,
  sensitive to cefalexin. Switch to oral.
ask: <He> spits out the antibiotic. Can I hide it in the bottle?
ans: It is better not to, because you will not know how much has gone down. Use the syringe inside
  the cheek, a little at a time, and follow it with milk.
%case
vars: age=3 years|4 years|5 years|6 years; dose=2-6
dx: functional constipation with overflow soiling
pc: <He> passes a large, hard stool once a week with a lot of crying, and has been soiling <his>
  pants at school. <He> hides behind the sofa and crosses <his> legs.
hx: It began during potty training, after a painful stool. Meconium was passed on the first day of
  life. <He> dislikes the school toilets.
ex: a firm mass could be felt above the pubic bone. The spine, reflexes and anal position were
  normal.
ix: No tests were needed. The bowel diary shows [1-2] bowel movements a week of type 1 or 2.
rx: Disimpaction was started with macrogol sachets, rising from <dose> to [8-10] a day, followed by
  a maintenance dose. <He> should sit on the toilet after meals with a footstool and a reward
  chart.
out: <He> now opens <his> bowels every day and has been clean for {five|six} weeks. The star chart
  is full.
wr: Disimpaction day 3, [7-9] sachets via NG overnight. Type 6 stools, abdomen softer. Aim home
  when clear.
ask: It has turned to brown water and it is everywhere. Should I stop the sachets?
ans: I am sorry, I know it is messy, but that means it is working. Please carry on until it runs
  clear with bits, and then we will bring the dose down.
%case
vars: age=11 years|12 years|13 years|14 years; side=left|right; stage=teen
dx: slipped upper femoral epiphysis of the <side> hip
pc: This {overweight|tall} <boy> had been limping for {a month|six weeks} with pain in the <side>
  knee. It became worse after {trampolining|a cross-country run} and <he> could not bear weight.
hx: The knee was X-rayed twice and was normal. Thyroid tests have been requested. <He> has asthma
  and takes montelukast.
ex: the <side> leg was shorter and turned outwards, and internal rotation of the hip was very
  painful.
ix: The frog-leg view showed a moderate slip of the <side> femoral epiphysis. Full blood count and
  CRP were normal.
rx: <He> went to theatre the same day for fixation with a single cannulated screw. <He> will use
  crutches without putting weight on the leg for six weeks.
out: The growth plate has closed and <he> walks without a limp. The other hip is being watched
  closely.
wr: Day 1 after screw fixation of <side> hip. Pain score 3, toes warm and pink, physio teaching
  stairs on crutches.
ask: <He> has been hopping to the bathroom without the crutches. Will that have moved the screw?
ans: Probably not, but please remind <him> to use them. If there is new pain in the groin or the
  knee, <he> needs an X-ray the same day.
%case
vars: age=15 years|14 years|13 years; sex=f; bmi=14.2-15.9; hr=38-46; stage=teen
dx: anorexia nervosa with bradycardia
pc: She has lost [9-14] kg since {the spring term|the summer holidays} after cutting out
  {carbohydrates|all fats}. She exercises in her bedroom at night, and her periods have stopped.
hx: She is a perfectionist who gets top marks and dances ballet. Her friends have drifted away and
  there was some bullying online.
ex: she was thin and cold with downy hair on the back, a pulse of <hr>, and a drop in blood
  pressure of [16-28] on standing. Her BMI was <bmi>.
ix: The ECG showed sinus bradycardia with a QTc of [402-438] ms. Phosphate was [0.68-0.86] mmol/L,
  potassium was [3.5-3.9], and glucose was [3.4-4.1].
rx: She was admitted for supervised meals with bed rest, thiamine and daily refeeding bloods.
  Family-based therapy starts with the eating disorders team next week.
out: She has gained [2-4] kg and her pulse is [54-62]. She managed a slice of cake on her brother's
  birthday.
wr: Meal plan 1800 kcal, supervised, finished 5 of 6 meals. Overnight pulse <hr>. Phosphate normal,
  supplements continue. Tearful after lunch.
ask: She refused breakfast and poured the milkshake down the sink. What should we say to her?
ans: Stay calm and be kind but firm. Tell her that food is her medicine, offer the replacement
  drink, and sit with her for an hour after the meal. If she refuses for a day, ring us.
"""
