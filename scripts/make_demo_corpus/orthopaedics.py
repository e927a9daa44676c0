"""Orthopaedics: synthetic case records, phrase pools and note types."""

SOURCE = """\
%pool grade
{Consultant orthopaedic surgeon|Specialist registrar in trauma and orthopaedics|Advanced
  physiotherapy practitioner|Orthopaedic nurse practitioner}
%pool anaes
{general with a nerve block|general|general with local infiltration}
%pool obs
wound dry and clean, neurovascularly intact, calves soft and not tender. Pain [1-5]/10 on {regular
  paracetamol|oral morphine at night}. Hb [92-128].
dressing {dry|changed this morning}, warm toes with good capillary refill, sensation normal. Temp
  [36.5-37.4]. {Bowels not open|Passing urine well}.
%pool extra
The physiotherapist {has taught|will go through} {exercises to strengthen the quadriceps|range of
  movement exercises|stretching exercises}, to be done {three times a day|morning and evening} {at
  home|in the garden or the swimming pool}.
{<He> should avoid|We advised against} {heavy lifting|driving|gardening|contact sport} {until the
  next review|for at least six weeks}.
{Injections to prevent blood clots|Compression stockings} will continue for {two|four|five} weeks
  {after the operation|after discharge}.
The risks of {surgery|an operation} were explained, including {infection, bleeding and
  stiffness|nerve injury, blood clots and the need for further surgery|continuing pain and failure
  of the metalwork}.
{A bone density scan|A vitamin D supplement|A falls assessment} {has been requested|was
  recommended} {because of <his> age|to reduce the risk of another fracture|as part of the bone
  health review}.
{The occupational therapist|A therapist} has {arranged|ordered} {a raised toilet seat|a perching
  stool|grab rails for the bathroom|a key safe} and {visited the house|assessed <him> on the
  stairs}.
{X-rays taken today show|The check X-ray shows} {satisfactory alignment|early callus|no loosening}
  and {no sign of infection|the metalwork in a good position}.
%note operation
Operation note, <date>
Patient: <age>-year-old <man>. Diagnosis: <dx>.
{Anaesthetic|Anaesthesia}: <anaes>. {Antibiotics given at induction|Teicoplanin and gentamicin at
  induction}. {The team brief was completed|Pressure areas were padded|Warming blanket used}.
Indication: <pc> <ix>
Procedure: <op>
{Blood loss|Estimated blood loss} [50-450] ml. {Swab and needle counts were correct|All counts
  correct}. {Wound closed in layers with absorbable sutures|Clips to the skin}.
Postoperative instructions: <post> <extra> <recap>
%note trauma
Trauma meeting, <day> morning
{Case|Patient} [1-9]: <age>-year-old <man> with <dx>, admitted {overnight|yesterday evening}.
{Mechanism and history|History}: <pc> <hx>
{Injury findings|Examination}: <ex> {Imaging|X-rays}: <ix>
{Discussion|Decision}: {the options of surgery and conservative treatment were discussed|the
  consultant agreed with the plan made overnight|the case will be first on the list}. <op>
{Anaesthetic concerns|Medical issues}: {none|on a blood thinner, last dose yesterday|chest
  infection being treated|mild kidney impairment}. <post>
%note physio
Physiotherapy {outpatient assessment|progress note}, week [2-12]
{Subjective|Patient reports}: <he> {is recovering from|attends with} <dx>. Pain at rest is [0-3]
  out of 10 and [3-6] out of 10 on {stairs|walking|reaching overhead}. <ask> <social>
{Objective|On examination}: <ex> {Gait|Movement} is {improved|a little guarded}. Muscle power is
  [4-5] out of 5.
{Treatment given|Treatment today}: {soft tissue massage and mobilisation|balance work and
  step-ups|progressive strengthening with bands}. <ans>
Goals: {to walk one mile without a stick|to return to work in six weeks|to climb the stairs one
  foot after the other|to get back to the gym}. <out> <extra>
%case
vars: age=58-82; side=left|right
dx: osteoarthritis of the <side> knee
pc: <He> has had pain in the <side> knee for several years, which is now present at night and
  limits walking to [100-400] metres. The knee sometimes gives way on the stairs.
hx: <He> had an arthroscopy twenty years ago. Physiotherapy, weight loss and two steroid injections
  have given only short-term relief. <He> takes amlodipine for high blood pressure.
ex: there was a varus deformity with a small effusion. Movement was from [5-12] to [95-110] degrees
  with crepitus, and the ligaments were stable.
ix: X-rays showed loss of the medial joint space with osteophytes and sclerosis.
rx: <He> has been listed for a total knee replacement and will attend the joint school before the
  operation.
op: A midline incision and medial parapatellar approach were used. The bone cuts were made with
  standard jigs, and a cemented total knee replacement with a [9-13] mm insert was implanted. The
  patella tracked well.
post: <He> may bear full weight with a frame from the day of surgery. Check blood count and X-ray
  tomorrow.
out: At six weeks the knee bends to [100-118] degrees, the wound has healed and <he> no longer
  needs painkillers at night.
wr: Day 1 after <side> total knee replacement. Straight leg raise achieved, flexion 70 degrees,
  walked with frame to the door.
ask: The knee is still warm and swollen in the evening. Could it be infected?
ans: Warmth and swelling are common for three months after a knee replacement. Rest with the leg
  raised and use ice. If the wound leaks or there is a fever, we need to see it.
%case
vars: age=72-94; side=left|right
dx: a displaced intracapsular fracture of the <side> hip
pc: <He> tripped over {a rug|the cat|the kerb} and fell on the <side> side. <He> lay on the floor
  for {an hour|most of the night} and was unable to stand.
hx: <He> has atrial fibrillation, mild dementia and osteoporosis, and walks with a stick. <He>
  broke a wrist four years ago.
ex: the <side> leg was shortened and externally rotated, with pain on any movement of the hip. The
  skin was intact.
ix: The X-ray confirmed a displaced fracture of the neck of the femur. Sodium was [129-137] and
  haemoglobin was [104-131].
rx: A fascia iliaca block was given in the emergency department and <he> was operated on within 36
  hours. <He> was reviewed by the orthogeriatrician, and zoledronate will be given.
op: Through an anterolateral approach the femoral head was removed and measured [44-52] mm. A
  cemented hemiarthroplasty was inserted and the hip was stable in all positions.
post: Full weight bearing. Remove the catheter in the morning and avoid strong sedatives.
out: <He> returned to <his> own home with carers twice a day, walking indoors with a frame.
wr: Day 2 after hemiarthroplasty. Some delirium overnight, 4AT score 6. Constipated, laxatives
  started. Sat out for lunch.
ask: <He> is much more muddled since the operation. Will it go away?
ans: Delirium after a hip fracture is common and usually improves over days to weeks. Familiar
  faces, glasses, hearing aids and a clock in view all help.
%case
vars: age=17-38; side=left|right; sport=football|netball|skiing|rugby
dx: rupture of the anterior cruciate ligament of the <side> knee
pc: <He> twisted the <side> knee while playing or practising <sport> and heard a pop. The knee
  swelled within an hour, and it has given way on turning ever since.
hx: <He> is normally fit and trains three times a week. There have been no previous knee injuries
  and <he> takes no medication.
ex: the Lachman and pivot shift tests were positive. There was tenderness along the medial joint
  line, and a moderate effusion.
ix: MRI confirmed a complete tear of the anterior cruciate ligament with bone bruising and a tear
  of the medial meniscus.
rx: After a course of prehabilitation, <he> chose reconstruction with a hamstring graft. Return to
  sport is not expected before nine months.
op: The hamstring tendons were harvested and made into a four-strand graft of [7.5-9.0] mm. Tunnels
  were drilled arthroscopically, the meniscus was repaired with two sutures, and the graft was
  fixed with a button and a screw.
post: A hinged brace is to be worn for six weeks with flexion limited to 90 degrees. Crutches for
  two weeks.
out: The knee is stable at nine months, hop testing is [90-98] per cent of the other leg and <he>
  has returned to training.
wr: Day case ACL reconstruction, safe on crutches, knee brace fitted. Pain controlled with block
  still working.
ask: I slipped on a wet floor and felt something pull behind the knee. Have I torn the graft?
ans: A strain of the harvested hamstring often feels like that. If the knee has not swollen, use
  ice and rest it, and we will examine it in the clinic this week.
%case
vars: age=8-13; side=left|right
dx: a displaced supracondylar fracture of the <side> humerus
pc: <He> fell from {a trampoline|the monkey bars|a tree} on to an outstretched hand and had
  immediate pain and deformity of the <side> elbow.
hx: <He> is a healthy child and last ate {four|five} hours before. All immunisations are up to
  date.
ex: the elbow was swollen with a pucker in the skin. The hand was pink and warm, the radial pulse
  was present, and <he> could not make an OK sign with the fingers.
ix: The X-ray showed an extension-type fracture with complete displacement, Gartland grade 3.
rx: Urgent closed reduction and wire fixation were carried out the same evening, with a backslab
  for three weeks.
op: The fracture was reduced closed under image intensifier, and two lateral wires of 1.6 mm were
  passed. The pulse remained good and the carrying angle was restored.
post: Observe the hand every hour overnight. Wires are to be removed in the clinic at three to four
  weeks.
out: The wires have been removed and the anterior interosseous nerve has recovered. Elbow movement
  is almost full.
wr: Fingers pink, moving all apart from weak thumb flexion, pulse present. Backslab comfortable.
  Ate toast.
ask: The fingers look puffy this morning and the plaster seems tight. What should we do?
ans: Raise the arm on pillows and ask for the fingers to be wiggled. If they are numb, white or
  very painful when stretched, bring your child back straight away.
%case
vars: age=32-59; side=left|right; level=L4/5|L5/S1
dx: a prolapsed <level> disc with <side>-sided sciatica
pc: <He> developed pain from the buttock to the <side> foot after {lifting a washing
  machine|digging the garden}. The pain is worse on sitting and coughing, and has lasted for
  {eight|ten} weeks.
hx: <He> drives a van for a living and has had two previous episodes of back pain. <He> takes
  naproxen and amitriptyline.
ex: straight leg raising was limited to [25-45] degrees on the <side>. The ankle reflex was
  reduced, with normal perianal sensation.
ix: MRI showed a <side> posterolateral disc prolapse at <level>, compressing the nerve root.
rx: We discussed the natural history, a nerve root injection and microdiscectomy. <He> was warned
  about the symptoms of cauda equina syndrome.
op: In the prone position the level was confirmed with X-ray. A fenestration was made, the nerve
  root was retracted, and a large free fragment of disc was removed. The root was then free.
post: <He> may get up the same day. Sit for short periods only in the first two weeks.
out: The leg pain has gone, leaving a small patch of numbness on the outer border of the foot.
wr: Day 1 after microdiscectomy <level>. Leg pain gone, power normal, passed urine. Back sore.
  Stairs done.
ask: I have had numbness between the legs since this morning, and I am not sure if I have emptied
  my bladder.
ans: Those symptoms could mean pressure on the nerves to the bladder, so please come to the
  emergency department now. You will need an urgent scan.
%case
vars: age=45-68; side=left|right; cm=2-4
dx: a full-thickness tear of the <side> rotator cuff
pc: <He> has had pain in the <side> shoulder since {a fall from a ladder|pulling a lawnmower cord},
  and cannot lift the arm to comb <his> hair or reach a shelf. Sleep is disturbed.
hx: <He> has diet-controlled diabetes. A steroid injection helped for a month.
ex: there was wasting of the supraspinatus, a painful arc, and weakness of external rotation.
  Passive movement was full.
ix: Ultrasound showed a <cm> cm tear of the supraspinatus tendon with little retraction.
rx: <He> would like to have an arthroscopic repair, and understands that the arm will be in a sling
  for six weeks.
op: The shoulder was examined in the beach chair position. After subacromial decompression the tear
  of <cm> cm was mobilised and repaired to bone with [2-4] suture anchors. The biceps tendon was
  intact.
post: Sling for six weeks, elbow and hand movement from day one, and no active lifting of the arm.
out: At six months <he> can reach overhead without pain, and is sleeping on the <side> side again.
wr: Block wearing off, fingers tingling. Sling fitted correctly. Ice machine. Home with codeine and
  laxatives.
ask: The arm aches so much at night that I have been sleeping in a recliner. Is that all right?
ans: Yes, sleeping propped up is often the most comfortable. Put a small pillow behind the elbow
  and take a painkiller half an hour before bed.
%case
vars: age=24-63; side=left|right
dx: an unstable bimalleolar fracture of the <side> ankle
pc: <He> slipped on {ice|wet leaves|the last step of the stairs} and rolled over on the <side>
  ankle. It was deformed and <he> could not stand.
hx: <He> smokes ten cigarettes a day and has no medical problems apart from mild depression.
ex: the ankle was swollen with fracture blisters on the inner side. The skin was not broken and
  foot pulses were present.
ix: X-rays showed fractures of both malleoli with lateral shift of the talus. A CT scan showed no
  posterior fragment of importance.
rx: The ankle was reduced under sedation and placed in a backslab. Surgery was carried out after
  [4-8] days, once the swelling had gone down.
op: The fibula was fixed with a lag screw and a one-third tubular plate, and the medial malleolus
  with two partially threaded screws. The syndesmosis was stable on stress testing.
post: Below-knee cast with no weight bearing for six weeks, leg raised, and blood thinning
  injections.
out: The fracture has united and <he> is walking in ordinary shoes with mild stiffness on cold
  mornings.
wr: Swelling improving, wrinkles present, blisters dry. For theatre tomorrow. Fasting from
  midnight.
ask: My cast has got wet in the shower and it smells. Can I dry it with a hairdryer?
ans: Please do not use heat. A wet cast can damage the skin, so come to the plaster room today and
  we will change it.
%case
vars: age=40-66; sex=f; side=left|right
dx: carpal tunnel syndrome of the <side> hand
pc: She has had tingling in the thumb, index and middle fingers of the <side> hand for a year. It
  wakes her at night, and she drops cups and needles.
hx: She has rheumatoid arthritis and an underactive thyroid, and works as a typist. A wrist splint
  gave some relief.
ex: Tinel and Phalen tests were positive, with slight wasting of the thenar muscles and reduced
  two-point discrimination.
ix: Nerve conduction studies confirmed severe median nerve compression at the wrist.
rx: We recommended decompression under local anaesthetic as a day case.
anaes: local
op: A short palmar incision was made in line with the ring finger. The transverse carpal ligament
  was divided under direct vision, and the median nerve was flattened but intact.
post: Keep the hand raised and move the fingers at once. Sutures out at ten to twelve days.
out: The night symptoms disappeared within a week. The scar is a little tender and grip strength is
  returning.
wr: Wide awake carpal tunnel release completed, fingers moving, bandage dry. Written advice given.
ask: When can I drive, and is it normal that the palm is sore when I push on it?
ans: Most people can drive after two weeks when they can grip the wheel safely. Soreness at the
  base of the palm may last three months and responds to massage with cream.
%case
vars: age=55-77; side=left|right; crp=120-260
dx: an infected <side> total hip replacement
pc: <He> developed increasing pain in the <side> hip with fever and a discharging sinus, [2-5]
  years after a hip replacement that had worked well.
hx: <He> has psoriasis, treated with methotrexate, and had a dental extraction in the spring. <He>
  is a keen bowls player.
ex: there was a sinus over the lower end of the scar, with pain on rotation and a leg length
  difference of [1-2] cm.
ix: The CRP was <crp> and the aspirate grew Staphylococcus epidermidis. X-rays showed loosening
  around the stem.
rx: The case was discussed at the bone infection meeting, and a two-stage revision with six weeks
  of antibiotics was recommended.
op: The implants and cement were removed through an extended trochanteric osteotomy. Five tissue
  samples were taken, the canal was washed with nine litres of saline and an antibiotic-loaded
  cement spacer was inserted.
post: Touch weight bearing only. Vancomycin through a long line until the culture results are
  known.
out: CRP has fallen from <crp> to [4-9]. The second stage was performed after three months, and the
  hip is pain free.
wr: Day 5 after first stage. CRP falling, [48-90]. Vancomycin level 16. Spacer in good position.
  Eating better.
ask: My antibiotic line is blocked and the nurse could not flush it. Do I miss tonight's dose?
ans: Do not force it. Come to the ward this evening and we will unblock or replace the line, so
  that only a few hours are lost.
%case
vars: age=19-47; side=left|right
dx: an open fracture of the <side> tibia, Gustilo grade 3
pc: <He> came off a motorcycle at about [30-50] miles an hour and was brought in by helicopter. The
  bone was visible through a wound on the shin.
hx: <He> is a scaffolder with no illnesses. Tetanus cover was uncertain.
ex: there was a [5-11] cm wound over the tibia, contaminated with grass and grit. Pulses were
  present and the compartments were soft.
ix: CT of the whole body showed no other major injury. The X-ray showed a comminuted fracture of
  the middle third of the tibia and fibula.
rx: Intravenous co-amoxiclav and tetanus cover were given within an hour. Surgery was carried out
  jointly with the plastic surgeons the next morning.
op: The wound was extended and all dead tissue was removed. A reamed intramedullary nail was locked
  with four screws, and the plastic surgeon covered the defect with a free muscle flap.
post: Flap observations every half hour for 24 hours, keep the room warm, and no caffeine.
out: The flap has healed and there is bridging callus on three cortices. <He> walks with one stick.
wr: Flap pink and warm, Doppler signal good. Donor site dry. Dangling regime started, five minutes
  three times a day.
ask: The shin feels hot and there is a yellow spot on the scar. Is that anything to worry about?
ans: We should look at that today, because an infection near metal needs early treatment. Please do
  not take any antibiotics until we have taken a swab.
%case
vars: age=48-72; side=left|right; sex=f
dx: hallux valgus of the <side> foot
pc: She has a painful bunion on the <side> foot and can no longer wear ordinary shoes. The second
  toe rubs and has developed a corn.
hx: She had deep vein thrombosis in pregnancy. Wide shoes, pads and insoles have been tried.
ex: the big toe deviated by about [30-40] degrees, with a red, tender prominence and a flexible
  hammer toe beside it.
ix: Standing X-rays showed an intermetatarsal angle of [14-17] degrees without arthritis.
rx: She wishes to have a corrective osteotomy, and understands that swelling can last for six
  months.
op: A scarf osteotomy of the first metatarsal was fixed with two headless screws, and an Akin
  osteotomy of the proximal phalanx with a staple. The second toe was straightened with a wire.
post: Heel weight bearing in a stiff shoe for six weeks, foot raised above the heart for the first
  fortnight.
out: The toe is straight and she wears trainers comfortably. She hopes to dance at her niece's
  wedding.
wr: Day surgery, toes pink, safe in the heel shoe. Low molecular weight heparin because of previous
  clot.
ask: The wire at the end of my toe has moved and caught on the sock. Shall I push it back?
ans: Please do not push it. Cover it with a clean dressing and come to the fracture clinic
  tomorrow, and we will trim or remove it.
%case
vars: age=13-16; cobb=46-64
dx: adolescent idiopathic scoliosis
pc: A swimming instructor remarked on an uneven waist and a prominent shoulder blade. The curve has
  progressed by [9-16] degrees through the growth spurt despite a rigid brace.
hx: Periods or voice change began about a year ago. A great-aunt wore a leather corset in her
  youth. There is no numbness or night pain.
ex: forward bending produced a right thoracic rib hump measured with a scoliometer at [14-21]
  degrees. Abdominal reflexes were symmetrical.
ix: Standing films gave a Cobb angle of <cobb> degrees, Risser stage 2, and MRI excluded a syrinx
  or tethered cord.
rx: Posterior correction was advised, after spirometry, photographs and an opportunity to talk to a
  youngster who has already been through it.
op: Pedicle screws were inserted from T4 to L1 using navigation. Rods were contoured, the spine was
  derotated, and evoked potentials remained stable. Local bone was laid over decorticated laminae.
post: Log roll for the first night, patient-controlled morphine, and sit on the edge of the bed on
  day one.
out: <He> is [3-5] cm taller, the residual curve is [12-20] degrees and gymnastics may restart
  after a year.
wr: Day 3 spinal fusion. Drain out, bowel sounds present, nausea better. Walked ten metres with two
  therapists. Proud of new height.
ask: When can <he> carry a rucksack and ride on roller coasters?
ans: A light bag on both shoulders is fine after six weeks. Theme parks and horse riding are best
  postponed for twelve months, until the fusion is solid.
"""
