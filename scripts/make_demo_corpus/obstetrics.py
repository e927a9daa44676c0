"""Obstetrics: synthetic case records, phrase pools and note types."""

SOURCE = """\
%pool grade
{Consultant obstetrician|Specialist registrar in obstetrics|Midwife in charge|Diabetes specialist
  midwife}
%pool caller
{She|Her partner|Her mother|Her community midwife}
%pool obs
BP [104-138]/[62-86], pulse [70-98], temp [36.5-37.5], resps [13-18]. Calves soft, {eating and
  drinking|managing toast and tea}, passing urine {well|freely}.
BP [108-142]/[64-88], pulse [66-94], sats [96-99]% on air. {Comfortable in bed|Up and about},
  {slept for a few hours|had a shower this morning}, no swelling of the legs.
%pool extra_early
{The early pregnancy unit|The gynaecology nurse} will {telephone on <day>|repeat the blood test in
  48 hours|arrange a scan in a fortnight}.
{Folic acid and vitamin D|A simple multivitamin} {was recommended|can be continued}, and {she was
  given a fit note for two weeks|her partner may stay outside visiting hours|she has the number of
  the unit}.
{We checked her rubella status and blood group|Cervical screening is up to date}, and {smoking
  status was recorded|she was offered support from the counselling service}.
%pool postextra
{The six-week check with the GP|A cervical smear at three months} {has been arranged|is due}, and
  {pelvic floor exercises were encouraged|she is sleeping in short stretches|her mood score was
  low, which is reassuring}.
{Contraception was discussed|We talked about spacing of pregnancies} and she {chose an
  implant|would like a hormonal coil|prefers to use condoms for now|has opted for the
  progesterone-only pill}.
{Feeding is going well|She is mixing breast and bottle}, and {the health visitor calls every
  week|her own mother helps at night|she has joined a local baby group}.
%note review
{Postnatal clinic|Hospital debrief appointment}, <date>
<greetline> {The appointment was made|I had offered this visit} {to go over what happened|six weeks
  after she left the ward}. <out>
To recap, the diagnosis was <dx>. <pc>
<social> <postextra> <explain>
{She has been discharged to the care of her GP|No further appointment is needed|She can refer
  herself back at any time}.
<grade>
%pool scan
The growth scan {today|at this visit} showed an estimated fetal weight of [1480-3240] grams, on the
  {20th|40th|60th} centile, with {normal liquor|an amniotic fluid index of [9-17] cm} and {normal
  umbilical artery Doppler|good end-diastolic flow}.
The {anomaly|mid-trimester} scan at {twenty weeks|20 weeks} was normal, with {an anterior|a
  posterior} placenta, well clear of the cervix.
{The dating scan agreed with her last period|The first scan at twelve weeks showed a single
  pregnancy}, and the combined screening test was {low risk|reported as low chance for trisomies}.
%pool baby
A {girl|boy} weighing [2540-3980] grams was {born|delivered} in good condition with Apgar scores of
  [7-9] and [9-10], and {cried straight away|went skin to skin at once}.
The baby was {small but vigorous|healthy}, weighed [2380-3760] grams, and {vitamin K was given by
  injection|fed at the breast within the hour|needed no resuscitation}.
%pool extra
{The community midwife will visit|A home visit is planned} on day {three|five} {to weigh the baby
  and take the heel prick test|to check the wound and talk about feeding}.
{She knows to ring triage|She was asked to telephone the maternity unit} if {the waters break|there
  is any bleeding|the baby's movements are reduced|she has a severe headache or pain under the
  ribs}.
{Her booking haemoglobin was|The latest haemoglobin was} [98-128] g/L, and she {takes iron with
  orange juice|is rhesus negative and had anti-D at 28 weeks|is immune to rubella}.
{Her birth preferences include|She would like} {a water birth|an epidural|gas and air and a calm
  room|her sister as a birth partner}, and {this was written in the notes|the midwife talked
  through the options}.
{Contraception was discussed|We talked about spacing of pregnancies} and she {chose an
  implant|would like a hormonal coil|prefers to use condoms for now}.
{Whooping cough and flu vaccines|The vaccines against influenza and respiratory syncytial virus}
  {were offered|have been given}, and {smoking status was checked with a carbon monoxide test|she
  takes folic acid and vitamin D}.
<scan>
%pool social
She {works|has a job} as a {teaching assistant|nursery nurse|solicitor's clerk|florist|police
  officer|bus driver} and plans to {reduce her hours|return to work after nine months|take a full
  year of leave}. She {lives with her partner|lives with her parents|has a toddler at home}, does
  not smoke and {has stopped drinking alcohol|drank a little before she knew that she was
  pregnant}.
{She and her partner have been together for [2-9] years|This is a much wanted pregnancy|The
  pregnancy was a surprise}, and they {attend antenatal classes|have just moved house|have good
  support from grandparents}. {A routine question about domestic abuse was asked in private and the
  answer was no|Mood is good and there is no history of depression}.
%note booking
Antenatal {booking visit|clinic}, [10-14] weeks
{Age|Maternal age}: <age>. BMI [20-34]. Gravida [1-4].
{Reason for consultant care|Referred because of}: <dx>. <hx> <social>
{Today|At this visit}: blood pressure was [98-126]/[58-78] and the urine was {clear|negative for
  protein and glucose}. Allergies: <allergy>.
{Discussion|We discussed}: <explain> <pc>
{Plan of care for this pregnancy|Plan}: <rx> <extra> <formal>
%note labour
Labour ward {record|notes}, <date>
[2-11].[10-50] {am|pm}: {I introduced myself to the couple|Care taken over from the night staff}.
  <age> years old, with <dx>. <pc>
{On palpation|Abdominal examination}: the midwife confirmed the position of the baby. CTG: baseline
  [124-148], variability [8-18], {accelerations present and no decelerations|occasional early
  decelerations, otherwise reassuring}.
Vaginal examination with consent: cervix [3-8] cm dilated, {membranes intact|clear liquor
  draining}. <ex>
{Analgesia|Pain relief}: {gas and air|an epidural, working well|diamorphine and the birthing pool}.
  {Her partner|Her sister} {rubbed her back|was a great support|put on some quiet music}, and she
  {coped well|was tired but determined|found the ball helpful}.
{Birth|Outcome}: <birth> <baby>
%note operative
Operation note: {caesarean section|emergency caesarean section, category 2}
Indication: <dx>. <pc> <cs>
{Anaesthesia|Anaesthetic}: {spinal|epidural top-up}. {The surgical safety checklist was
  completed|Consent was confirmed and antibiotics were given before the incision}.
Findings and procedure: a transverse lower abdominal incision was made. The bladder was
  {reflected|pushed down} and the uterus was opened in the lower segment. <baby> The placenta was
  {delivered by controlled cord traction|complete}. The uterus was closed in two layers. {Both
  tubes and ovaries were normal|There were no adhesions}. Blood loss was [350-900] ml.
{Postoperative plan|Instructions}: {remove the catheter after 12 hours|early mobilisation},
  {regular paracetamol and ibuprofen|oral morphine if required}, enoxaparin for {ten days|six
  weeks}. <extra>
{Debrief|Later discussion}: <recap> <out>
%case
vars: age=24-41; sex=f; sys=158-176; plt=92-168; wk=36|37
dx: severe pre-eclampsia at <wk> weeks
pc: She presented at <wk> weeks with a frontal headache, flashing lights and swelling of the face
  and hands. The midwife had found a blood pressure of <sys>/[102-112].
hx: This is her first pregnancy. Her mother had high blood pressure in pregnancy, and she had been
  taking low-dose aspirin since 12 weeks.
ex: her reflexes were brisk with two beats of clonus, and there was tenderness under the right
  ribs.
ix: The urine protein to creatinine ratio was [110-420], platelets were <plt>, and ALT was
  [38-124]. The placental growth factor was low.
rx: Intravenous labetalol and magnesium sulphate were given, with steroids for the baby's lungs and
  a fluid restriction of 80 ml an hour. Delivery was planned after stabilisation.
birth: Labour was induced after stabilisation and she had a normal birth with a short second stage.
out: Blood pressure settled on enalapril after ten days. She will take aspirin from 12 weeks in any
  future pregnancy and have her blood pressure checked every year.
wr: BP [138-148]/[84-92] on oral labetalol. Magnesium stopped after 24 hours. Platelets up from
  <plt>. Urine output [50-90] ml an hour.
ask: The home monitor says 152 over 98 and I have a slight headache, four days after the birth. Is
  that normal?
ans: Blood pressure is often at its highest at this stage. Take the evening tablet now and come to
  the day unit within the hour so that we can check it and repeat your bloods.
%case
vars: age=26-40; sex=f; fast=5.4-6.8; bm=8.4-11.2
dx: gestational diabetes
pc: The glucose tolerance test at 26 weeks showed a fasting level of <fast> and a two-hour level of
  <bm> mmol/L.
hx: Her first baby weighed [4120-4680] grams and there was a shoulder dystocia. Her father has type
  2 diabetes.
ex: the fundus measured two centimetres ahead of dates, and her blood pressure was normal.
ix: HbA1c was [36-42] mmol/mol. The growth scan at 32 weeks showed an abdominal circumference on
  the 90th centile.
rx: She was taught to test her blood glucose four times a day. Metformin was added to diet and
  walking after meals, and insulin at bedtime if the fasting level remains above 5.3.
birth: Induction at 39 weeks with a balloon catheter was followed by a spontaneous birth, with the
  team ready for shoulder dystocia.
cs: Induction was stopped after 24 hours because the cervix remained closed, and she asked for a
  caesarean section.
out: The treatment was stopped after the birth and the baby's blood sugars were normal. She needs a
  fasting glucose at six weeks and every year.
wr: Capillary glucose 4.8 to 6.9 overnight, sliding scale not needed. Baby had first feed, sugars
  2.8 and 3.1. Expressing colostrum.
ask: My fasting reading has been 5.8 for three mornings even though I only had soup for supper.
  What am I doing wrong?
ans: You are doing nothing wrong, because the hormones from the placenta push up the morning level.
  We will increase the metformin at bedtime, and a small snack with protein may help.
%case
vars: age=22-38; sex=f; loss=1500-2600; hb=71-84
dx: a primary postpartum haemorrhage due to uterine atony
pc: Heavy bleeding began ten minutes after delivery of the placenta, following a long labour with
  an oxytocin infusion and a large baby.
hx: She has had three children, and was anaemic in this pregnancy with a ferritin of 8. She has no
  bleeding disorder.
ex: she was pale with a pulse of [118-136] and blood pressure of [82-94]/[44-56]. The uterus was
  soft and there were no tears.
ix: The measured loss was <loss> ml. Haemoglobin fell to <hb> g/L and fibrinogen was [1.8-2.6] g/L.
rx: The uterus was massaged and she was given oxytocin, ergometrine, carboprost and tranexamic
  acid. A balloon was placed in theatre and [2-4] units of red cells were transfused.
birth: She had a forceps delivery for delay in the second stage, and the bleeding that followed was
  controlled in theatre.
out: She made a full recovery and had an iron infusion. The events were explained to the couple,
  and active management is advised in the next labour.
wr: Balloon removed at 18 hours, no further loss. Hb <hb> before transfusion, now [88-97]. Walking
  to the shower, a little dizzy.
ask: The bleeding had almost stopped, and now I have passed a clot the size of an egg with some
  cramps.
ans: I would like you to come in to be checked for a small piece of placenta or an infection. If
  you soak more than one pad in an hour, call an ambulance.
%case
vars: age=23-36; sex=f; wk=27|28|29|30; len=9-16
dx: threatened preterm labour at <wk> weeks
pc: She attended at <wk> weeks with tightenings every five minutes and backache. There was a little
  mucus but no bleeding or loss of fluid.
hx: Her previous baby was born at 31 weeks, and she has had a cone biopsy of the cervix. She has
  been using vaginal progesterone.
ex: the uterus was soft between contractions, and the cervix was short and closed on speculum
  examination.
ix: The fibronectin test was positive, and the cervix was <len> mm long on transvaginal scan. Urine
  culture grew E. coli.
rx: She was given betamethasone, nifedipine and antibiotics for the urinary infection, and
  transferred to a unit with a neonatal intensive care cot. Magnesium will be given if labour is
  established.
out: Contractions settled and the pregnancy went on to [35-37] weeks. The baby spent four days in
  special care for jaundice.
wr: No tightenings since yesterday evening. Steroids complete. CTG normal for gestation. Neonatal
  doctor has spoken to parents.
ask: I feel some pressure low down and my discharge is watery. I am 31 weeks now. Do I wait?
ans: No, please come straight to triage and bring a pad with you. We need to find out whether your
  waters have gone.
%case
vars: age=29-42; sex=f; wk=33|34|35
dx: major placenta praevia
pc: She woke in a pool of bright red blood at <wk> weeks, without any pain. This was the second
  bleed.
hx: She has had two caesarean sections, and lives forty minutes from the hospital. The low placenta
  was seen at the anomaly scan.
ex: the abdomen was soft, the baby was lying transversely, and no vaginal examination was
  performed.
ix: The transvaginal scan showed that the placenta covers the internal os, with no sign of placenta
  accreta on MRI. Haemoglobin was [96-112].
rx: She will stay in hospital with cross-matched blood available, and a caesarean section with two
  consultants is planned at 36 to 37 weeks.
cs: Cell salvage was set up and four units of blood were available.
out: The operation was performed without transfusion. She is recovering well and has decided
  against another pregnancy.
wr: No fresh bleeding for three days, brown staining only. Cannula in, group and save valid.
  Stockings on, walking to day room.
ask: I am at home for the weekend and have noticed a few spots of blood on the tissue. Shall I wait
  to see if it stops?
ans: Please do not wait. Any bleeding with a low placenta means that you should come in by
  ambulance now, even if you feel well.
%case
vars: age=21-39; sex=f; bile=44-118
dx: obstetric cholestasis
pc: She has had intense itching of the palms and soles for two weeks, worse at night, at [32-35]
  weeks of pregnancy. She had scratched until she bled, but there was no rash.
hx: Her sister had the same condition. She has had gallstones and cannot take the combined pill
  because of itching.
ex: there were scratch marks on the arms and abdomen, without jaundice. The baby was active.
ix: Bile acids were <bile> and ALT was [68-260]. Hepatitis screening and a liver ultrasound scan
  were normal.
rx: Ursodeoxycholic acid, aqueous cream with menthol and an antihistamine at night were prescribed.
  Bile acids will be checked every week and delivery is planned at 37 to 38 weeks.
birth: Labour was induced with a prostaglandin pessary and she gave birth in the pool room with
  continuous monitoring.
cs: There was a prolonged deceleration of the fetal heart in early labour.
out: The itching went away within two days of the birth, and liver tests were normal at six weeks.
  It may come back in another pregnancy.
wr: Itch a little better with cooling cream, slept four hours. Bile acids <bile>, repeat Thursday.
  CTG reassuring.
ask: The itching is driving me mad and the tablets have made no difference after three days. Can I
  take more?
ans: It may take a week or more to help. Try cool baths and loose cotton, and we will repeat the
  bile acids tomorrow. Please tell us at once if the baby is moving less.
%case
vars: age=25-37; sex=f
dx: a dichorionic twin pregnancy
pc: Two babies were seen at the twelve-week scan, with a lambda sign. She has had severe sickness
  and needed fluids in the day unit on two occasions.
hx: The pregnancy followed one cycle of fertility treatment for blocked tubes. Her own grandmother
  was a twin.
ex: the uterus was larger than expected for dates, two fetal hearts were heard, and there was
  swelling of both ankles.
ix: The scan at 32 weeks showed a growth difference of [6-14] per cent. The first twin is head down
  and the second is breech.
rx: She will have scans every four weeks, aspirin and iron, and birth is recommended at 37 weeks.
  We talked about vaginal birth with an epidural.
out: Both babies are doing well and feeding at the breast and from the bottle. A twin support group
  has been suggested.
wr: Twins day 2. Twin one feeding well, twin two topped up by cup. Mother tired, perineum healing.
  Extra night support arranged.
ask: I am so breathless when I lie down, and my ribs hurt. Is that just because there are two?
ans: It is often because of the size of the uterus, but we should check your blood pressure, pulse
  and oxygen. Come to the assessment unit this afternoon, and sooner if you have chest pain.
%case
vars: age=27-43; sex=f; wk=36|37
dx: a breech presentation at <wk> weeks
pc: The midwife suspected at <wk> weeks that the baby was bottom down, and the scan confirmed an
  extended breech.
hx: She had a normal birth three years ago. There is no bleeding in this pregnancy and no scar on
  the uterus.
ex: a firm round head could be felt under the ribs, and the breech was not engaged in the pelvis.
ix: The scan showed a flexed head, normal liquor and an estimated weight of [2780-3240] grams. The
  placenta is posterior.
rx: External cephalic version was offered after terbutaline, with a success rate of about half. The
  alternatives of a planned caesarean section and vaginal breech birth were explained.
birth: The baby stayed head down after the version, and she had a quick normal birth at 40 weeks.
cs: The version was unsuccessful on this occasion and she chose a planned operation at 39 weeks.
out: Mother and baby are both well and the breasts are comfortable. A hip scan for the newborn is
  booked at six weeks.
wr: ECV successful with forward roll. CTG normal before and after. Anti-D not needed. Home after
  one hour.
ask: Since the baby was turned I have felt lots of kicks on the other side. Might it have turned
  back?
ans: Kicks high up on the other side usually mean that the head is still down. The midwife can feel
  for the position tomorrow, and we can do a quick scan if there is doubt.
%case
vars: age=20-35; sex=f; wk=38|39|40
dx: reduced fetal movements at <wk> weeks
pc: She noticed at <wk> weeks that the baby had been quiet since the previous evening, despite a
  cold drink and lying on her side. It was her second episode.
hx: She smoked [4-10] cigarettes a day until 20 weeks. Her first baby was small.
ex: the fundal height was three centimetres less than expected and the fetal heart was heard
  straight away.
ix: The computerised CTG met the criteria after [12-28] minutes. The scan showed a weight on the
  8th centile with reduced liquor.
rx: In view of the repeated episodes and the small size, induction of labour was recommended and
  accepted.
birth: Two doses of prostaglandin were followed by a ventouse delivery for a slow heart rate, and
  the paediatrician was present.
cs: The fetal heart trace became abnormal soon after induction was started.
out: The baby is feeding well and the placenta was sent for examination. She is glad that she came
  in when she did.
wr: Induction day 1, pessary in at noon. Mild tightenings. CTG normal, movements felt. Partner
  staying overnight.
ask: I feel silly for ringing again, but the baby has not moved as much as usual today.
ans: You are not silly, and you know your baby best. Please come in now, and do not use a home
  device to listen for the heartbeat.
%case
vars: age=22-34; sex=f; wk=8|9|10|11; ket=3|4; stage=early
dx: hyperemesis gravidarum at <wk> weeks
pc: She has vomited up to [8-15] times a day for two weeks, cannot keep down water and has lost
  [4-7] kg. The smell of cooking makes her retch.
hx: She was admitted twice in her last pregnancy. She has migraine and travel sickness.
ex: she looked drawn with dry lips, a pulse of [98-114] and a drop in blood pressure on standing.
ix: Ketones in the urine were <ket> plus, potassium was [3.0-3.3] and sodium was [131-134]. The
  scan showed a live single pregnancy.
rx: Saline with potassium, thiamine, cyclizine and then ondansetron were given, with stockings and
  enoxaparin to prevent a clot. Potassium had returned to normal before she left.
out: She can manage toast, ginger biscuits and small sips, and comes to the day unit for fluids
  once a week.
wr: Two litres overnight, vomited x2. Ketones 1 plus, K 3.7 after replacement. Managed half a
  banana. Mood low, support offered.
ask: The tablets come straight back up. Is there anything that I do not have to swallow?
ans: Yes, there is a tablet that melts under the lip and also a suppository. If you have not passed
  urine for eight hours, we will bring you in for a drip.
%case
vars: age=24-39; sex=f; day=five|seven|nine; crp=98-240
dx: wound infection and sepsis after caesarean section
pc: She came back <day> days after a caesarean section with shivering, pain in the lower abdomen
  and pus from one end of the wound.
hx: The operation was done for slow progress after her waters had been broken for thirty hours. Her
  BMI is [32-39] and she has diet-controlled diabetes.
ex: temperature was [38.4-39.5], pulse was [112-128], and the wound was red and hot with an opening
  of [2-4] cm.
ix: Lactate was [2.1-3.2], CRP was <crp>, and the swab grew group A streptococcus. An ultrasound
  scan found no deep collection.
rx: Clindamycin and piperacillin with tazobactam were given within the hour, followed by oral
  antibiotics. A negative pressure dressing was applied.
out: The wound closed after four weeks of dressings by the district nurse. Breastfeeding continued
  throughout.
wr: Afebrile 36 h. CRP down from <crp> to [40-80]. Wound clean, dressing holding suction. Baby
  rooming in.
ask: The dressing pump keeps bleeping and there is fluid in the tube. Should I turn it off?
ans: Please leave it on and press gently around the edges, because a small leak of air sets off the
  alarm. The nurse can change it today if it does not stop.
%case
vars: age=21-36; sex=f; wk=6|7; stage=early
dx: an ectopic pregnancy in the right fallopian tube
pc: She developed one-sided cramps, shoulder tip discomfort and dark spotting <wk> weeks after her
  last period, and nearly fainted in a lift.
hx: She had chlamydia at university and conceived with a copper coil in place. A cousin needed
  keyhole surgery for the same reason.
ex: there was guarding in the right iliac fossa and marked tenderness on moving the cervix, with a
  pulse of [94-112].
ix: Serum hCG was [1400-4800] IU per litre, the cavity was empty and the transvaginal probe showed
  a tubal ring with echogenic fluid behind the uterus.
rx: Laparoscopic salpingectomy was carried out the same night, with anti-D for her negative blood
  group. Methotrexate was unsuitable because of pain and fluid.
out: The tiny scars have healed, hCG is below 5, and an early scan is promised as soon as another
  test turns positive.
wr: Day 1 laparoscopy. Shoulder ache from gas, easing with peppermint and walking. Haemoglobin
  [92-108]. Chaplaincy and counselling offered.
ask: I burst into tears at the sight of prams. Everybody tells me that it was so early.
ans: It was still a loss, and grief has no timetable. I can put you in touch with the miscarriage
  support group and our counsellor, who rings on Tuesdays.
%case
vars: age=28-39; sex=f
dx: epilepsy in pregnancy
pc: She attended for joint care with the neurologist after two brief absences and one nocturnal
  convulsion in the second trimester.
hx: Seizures began with sleep deprivation in the sixth form. Valproate was exchanged for
  lamotrigine before conception, together with high-dose folic acid.
ex: there was a bitten tongue and a bruised elbow, the optic discs were crisp, and the pregnancy
  corresponded to dates.
ix: The lamotrigine level had dropped to less than half of the value before pregnancy, as commonly
  happens through faster clearance.
rx: Lamotrigine was raised in stages with monthly levels. She should shower instead of bathing
  alone, and avoid exhaustion, missed doses and tramadol.
birth: She used an epidural so that she could doze, took her tablets on time and had an uneventful
  spontaneous delivery.
out: The dose was tapered over a fortnight after birth to prevent toxicity, and nappy changes are
  done on a floor mat.
wr: No fits since dose increase. Single room with cot sides. Lactation consultant happy with
  breastfeeding on lamotrigine.
ask: What happens if I have a seizure while I am holding the baby?
ans: Feed sitting on cushions on the floor, use a carrycot for stairs and ask for help with night
  feeds, because broken sleep is the likeliest trigger.
%case
vars: age=30-44; sex=f
dx: a previous caesarean section and a wish for vaginal birth
pc: She asked for a discussion about labour after an earlier caesarean delivery, having found
  recovery difficult and breastfeeding slow last time.
hx: The earlier operation was performed for an undiagnosed brow presentation. Healing was
  uneventful and the uterine incision was transverse.
ex: the scar was faint and not tender, with a well-grown baby in the left occiput anterior
  position.
ix: Ultrasound placed the afterbirth high on the posterior wall, away from the old incision.
rx: Success is likely in about three out of four women, with scar rupture in one in two hundred.
  Continuous monitoring, a cannula and birth close to theatre are advised.
birth: Spontaneous labour progressed steadily, she knelt over the bean bag, and the head was born
  over a small second-degree tear.
cs: Progress stopped at eight centimetres with blood-stained urine, so the trial of labour was
  abandoned.
out: She described the experience as healing and has written to thank the student midwife.
wr: Perineum sutured, voided [250-480] ml. Family visiting with balloons. Pelvic floor leaflet
  explained, haemorrhoid cream given.
ask: My waters have trickled and there are no pains yet. With my scar, must I rush?
ans: Come within the hour for a check of the trace and the colour of the fluid. If there is sudden
  constant pain or bleeding, dial for an ambulance.
"""
