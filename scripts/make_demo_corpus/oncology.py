"""Oncology: synthetic case records, phrase pools and note types."""

SOURCE = """\
%pool grade
{Consultant medical oncologist|Specialist registrar in oncology|Clinical nurse
  specialist|Consultant clinical oncologist}
%pool ps
<His> performance status is {0|1|2}, and <he> {is able to carry out light work|manages the stairs
  without help|is up and about for most of the day}.
<He> {has lost [2-6] kg in weight|has maintained <his> weight} since {the last visit|treatment
  started} and <his> appetite is {good|poor|slowly improving}.
<He> {reports|describes} {mild|moderate} fatigue, but is {still able to do the shopping|sleeping
  well at night|managing at home with help from the family}.
There has been {no nausea or vomiting|some nausea for the first three days after treatment}, and
  <his> bowels are {working normally|a little loose|rather constipated}.
%pool bloods
{The full blood count shows|Blood tests today show} a haemoglobin of [98-134] g/L, {neutrophils of
  [1.6-4.8]|a neutrophil count of [1.6-4.8]} and platelets of [142-318], and {kidney function is
  normal|the electrolytes are normal}.
The bloods were {checked this morning|taken yesterday} and are {fit for treatment|satisfactory},
  with a creatinine of [58-96] and a potassium of [3.7-4.8].
%pool sideeffects
We {discussed|went through} the {likely|possible} side effects of treatment, including {tiredness,
  nausea and hair loss|the risk of infection, sore mouth and diarrhoea|skin changes and numbness in
  the fingers and toes}, and <he> {signed|has signed} the consent form.
<He> {has|carries} {an alert card|the number of the acute oncology team} and knows to
  {call|telephone} {immediately|at any time of day or night} if <his> temperature {rises above
  37.5|reaches 38} or {if <he> feels unwell|if <he> develops shivering}.
%pool obs
temperature [36.4-37.6], pulse [68-98], BP [106-140]/[60-84], sats [94-99]% on air. {Mouth
  clean|Mild mucositis}, eating {small amounts|soft diet|well}. Neutrophils [0.8-4.2].
comfortable in bed, pain score [0-4], {PICC site clean|cannula site clean}, {abdomen soft|chest
  clear}. Weight [48-92] kg. Platelets [88-310].
%pool extra
<support>
<bloods>
<sideeffects>
%pool support
The {specialist nurse|cancer support worker|key worker} was {present|with us} throughout the
  consultation and will {telephone|contact} <him> {later this week|next week} to {see how <he> is
  getting on|answer any further questions}.
{We have referred <him> to|<He> would like to see} the {dietitian|community palliative care
  team|benefits adviser|psychologist} for {support|advice} {at home|during treatment}.
%note newpatient
New patient clinic, {medical|clinical} oncology, <date>
<greet>
Diagnosis: <dx>
Thank you for referring this <age>-year-old <man> with {newly diagnosed|a new diagnosis of} <dx>.
  <pc> <hx>
<social> <ps>
On examination, <ex> <ix>
I explained to the patient that the diagnosis is <dx>. <rx> <sideeffects> <formal>
<close>
<grade>
%note review
{Follow-up clinic|Treatment review}, cycle [2-6]
This <age>-year-old <man> with <dx> was {reviewed|seen} in {the clinic|the day unit} today
  {before|ahead of} the next cycle of treatment. <ps> <ps>
On examination, <ex> <bloods>
{Plan: we will|The plan is to} {go ahead with|proceed with} the next cycle {at full dose|with a
  dose reduction of 20 per cent}. <rx> <out> <support> <recap>
%note mdt
{Minutes of the multidisciplinary team meeting|Tumour board record}, <date>
Patient: <age>-year-old <man>. Diagnosis: <dx>.
{Clinical history|Summary of the case}: <pc> <hx>
Radiology and pathology: <ix>
{Discussion|The panel's view}: {the team agreed that|it was agreed that|the consensus of the
  meeting was that} {the disease is suitable for treatment|further treatment should be offered|the
  patient should be seen in the next available clinic}. {The surgeon|The radiologist|The
  pathologist} {noted|felt} that {there was no evidence of spread elsewhere that would change the
  plan|the margins and lymph nodes should be reported in full|the scan should be repeated after
  three cycles}.
Recommendation: <rx> {The specialist nurse|The referring team} will {inform|contact} the patient
  {about the outcome|with the outcome} by telephone. <support>
%note ward
Oncology ward round, <day> morning
<age>-year-old <man> with <dx>.
<wr>
Obs: temperature [36.4-37.3], pulse [68-92], BP [108-138]/[62-82], sats [95-99]% on air. Eating and
  drinking {small amounts|well}.
Plan: {continue current treatment|encourage oral fluids|continue current medication}; {repeat
  bloods in the morning|chase cultures}; {physio review|discuss with the family|home tomorrow if
  well}. <bloods> <support>
%note call
Acute oncology helpline, <date>
The patient, {aged <age>|a <age>-year-old <man>}, is being treated for <dx>. <He> called at
  [8-11].[10-55] {this morning|in the evening}.
Patient: <ask>
Nurse: {Have you checked your temperature|Do you have a temperature at the moment}?
Patient: {Yes, it was [36.2-37.2] an hour ago|No, it is normal, [36.3-37.1]}. I am {eating and
  drinking|managing to drink}, but I feel {tired|a bit low}.
Nurse: <ans> {If anything changes, please call us back|Please call us straight away if you get a
  temperature}.
Outcome: {advice given over the telephone|green on the triage tool, advice given}. <rx> {The team
  will call again tomorrow|The consultant has been informed}.
%note discharge
Discharge letter
Dear Doctor,
This <age>-year-old <man>, who has <dx>, was admitted {to the oncology ward|as an emergency} on
  <date> and discharged [2-8] days later. <pc>
On admission, <ex> <ix>
{During the admission,|While on the ward,} <wr> <out>
Please could you {continue <his> regular medication|check <his> blood count in one week|prescribe
  further laxatives as needed}. <safety> <support>
<close>
<grade>
%note palliative
{Letter from the palliative care team|Supportive care review}
I {visited|saw} this <age>-year-old <man> {at home|in the clinic} on <date>. The diagnosis is <dx>,
  and <he> {understands that the aim of treatment is to control symptoms|is aware that the illness
  is serious}.
<He> told me that {the main problem is|<he> is most troubled by} {pain in the
  back|tiredness|breathlessness|poor sleep}, which is {worse at night|worse in the evening|there
  for most of the day}. <He> takes {morphine [5-15] mg every four hours|paracetamol and a small
  dose of morphine} and {finds it helpful|has had no side effects}. <hx> <ps>
We talked about {what matters most to <him>|<his> wishes for the future}, and <he> {would prefer to
  be cared for at home|would like to avoid further hospital admissions|is looking forward to a
  family wedding}. <explain> <support> <formal>
%case
vars: age=38-67; sex=f; size=14-31; side=left|right
dx: {invasive|grade 2 invasive} ductal carcinoma of the <side> breast
pc: She noticed a lump in the <side> breast {while she was in the shower|about two months ago}, and
  {her GP referred her urgently|was referred under the two-week wait}. There was {no nipple
  discharge|some puckering of the skin} and no pain.
hx: Her mother had breast cancer at the age of [51-70]. She has had {two|three} children and {went
  through the menopause four years ago|is still having periods}.
ex: there is a firm, mobile mass in the upper outer quadrant of the <side> breast, measuring about
  <size> mm, and {no palpable lymph nodes|one palpable node in the axilla}.
ix: The mammogram and ultrasound show a <size> mm mass in the <side> breast. The core biopsy
  confirms invasive carcinoma, which is oestrogen receptor positive and HER2 {negative|positive}.
rx: She will have {a wide local excision and sentinel node biopsy|breast-conserving surgery},
  followed by radiotherapy to the <side> breast in [5-15] fractions and {an aromatase
  inhibitor|tamoxifen} for at least five years.
out: The {wound has healed well|margins were clear} and {there is no evidence of recurrence|none of
  the lymph nodes was involved}. She will have a mammogram every year for five years.
wr: She was treated for {cellulitis of the breast|a wound infection} with intravenous antibiotics,
  and the redness {has almost gone|is much better}. A small seroma was drained.
ask: The skin {under my arm|on my breast} is red and sore after the radiotherapy. Should I put some
  cream on it?
ans: That is very common towards the end of radiotherapy. Use a plain moisturiser, wear a soft
  cotton bra, and let the skin dry well after washing.
%case
vars: age=56-81; stage=T3 N1|T2 N1|T3 N2; side=sigmoid|ascending|descending
dx: adenocarcinoma of the <side> colon, stage <stage>
pc: <He> had a {three|four}-month history of a change in bowel habit, with {blood in the
  stools|looser stools} and tiredness. A stool test was positive and <he> was found to be
  {anaemic|short of iron}.
hx: <He> has high blood pressure and {type 2 diabetes|diverticular disease}, for which <he> takes
  {ramipril|metformin}. <His> father had bowel cancer in his seventies.
ex: the abdomen was soft and not tender, with {a well-healed scar|no masses}, and the liver was not
  enlarged.
ix: Colonoscopy showed an ulcerated tumour in the <side> colon, and the CT scan of the chest,
  abdomen and pelvis showed no evidence of distant spread. Histology confirmed a moderately
  differentiated adenocarcinoma, <stage>, with [1-4] of [14-26] nodes involved.
rx: <He> has been offered adjuvant chemotherapy with {capecitabine and
  oxaliplatin|oxaliplatin-based chemotherapy} for {three|six} months, starting {six weeks after
  surgery|once the wound has healed}.
out: The CEA has fallen from [9-38] to [1.2-3.4] and the {most recent|latest} CT scan shows no sign
  of recurrence. A further colonoscopy is due in one year.
wr: <He> had diarrhoea up to [6-9] times a day on capecitabine, which was stopped. <He> was given
  intravenous fluids and loperamide, and the stool cultures were negative.
ask: I have pins and needles in my fingers when I touch anything cold. Is that from the
  chemotherapy?
ans: Yes, that is from the oxaliplatin. Please wear gloves when you go to the fridge and avoid cold
  drinks for a few days. We will ask the doctor whether the dose should be reduced.
%case
vars: age=52-78; lobe=upper|lower; side=left|right; pdl=50-85
dx: {stage IV|metastatic} adenocarcinoma of the lung
pc: <He> presented with a persistent cough and {shortness of breath on exertion|chest pain}, and
  had coughed up {a small amount of blood|blood-stained sputum} on two occasions.
hx: <He> smoked {twenty|thirty} cigarettes a day for forty years and was exposed to asbestos {in
  the shipyard|as a young man}. <He> also has chronic obstructive pulmonary disease and uses two
  inhalers.
ex: there was reduced air entry at the <side> base with dullness to percussion, and {finger
  clubbing|no palpable neck nodes}.
ix: The CT scan showed a [28-61] mm mass in the <side> <lobe> lobe with {a pleural
  effusion|enlarged mediastinal nodes} and metastases in the {liver|adrenal gland|opposite lung}.
  There was no EGFR or ALK mutation, and PD-L1 expression was <pdl> per cent.
rx: As the PD-L1 is <pdl> per cent, <he> will be treated with immunotherapy, pembrolizumab, given
  {every three weeks|every six weeks} for up to two years.
out: The scan after [3-4] cycles shows a partial response, and the mass in the <side> <lobe> lobe
  is now smaller. <He> feels less breathless and the cough has settled.
wr: <He> was admitted with breathlessness. The chest drain removed [1.1-2.4] litres of fluid, and
  <he> is now comfortable on air. Talc pleurodesis was performed without any problems.
ask: I have had a dry cough and I am more short of breath than last week. Could it be the
  immunotherapy?
ans: It could be inflammation of the lungs, which we need to take seriously. I would like you to
  come to the assessment unit today for a chest X-ray and an oxygen check.
%case
vars: age=58-79; sex=m; psa=14-92; psb=0.1-0.9; gl=4 + 4|4 + 5
dx: metastatic prostate cancer
pc: He had been getting up at night to pass urine and had developed pain in {the lower back|the
  hip}. His GP checked a PSA, which was <psa>.
hx: He has {angina|high cholesterol|gout} and had a knee replacement five years ago. There is no
  family history of prostate cancer.
ex: the prostate felt hard and irregular, and there was {tenderness over the lumbar spine|no spinal
  tenderness}, with normal power and sensation in the legs.
ix: The PSA was <psa>. The biopsy showed Gleason <gl> disease, and the bone scan showed {several
  areas of increased uptake in the pelvis and spine|metastases in the ribs and lumbar spine}.
rx: He has started hormone treatment with {leuprorelin|goserelin} injections every three months,
  together with {abiraterone and prednisolone|enzalutamide|six cycles of docetaxel}.
out: His PSA has fallen to <psb>, and the bone pain has {gone|improved a great deal}. Hot flushes
  are his main side effect.
wr: He was admitted with weakness of the legs. The MRI scan of the whole spine confirmed cord
  compression, and he was given dexamethasone 16 mg and urgent radiotherapy. Power is now [3-4] out
  of 5.
ask: I am getting hot flushes {every hour|all through the night} since I had the injection. Is
  there anything I can take for them?
ans: They are caused by the drop in testosterone. Some men find that sage tea or a fan at night
  helps, and if not, the doctor can prescribe a tablet.
%case
vars: age=24-39; sex=m; hcg=140-2200; side=left|right
dx: {stage II|good-prognosis metastatic} germ cell tumour of the <side> testis
pc: He found a painless swelling of the <side> testicle {during a football season|while getting
  dressed}, and he {was too embarrassed to see anyone|thought it was an injury} for {two|three}
  months.
hx: He is otherwise fit and well and takes no regular medication. He {had an undescended testis as
  a child|has no family history of cancer} and would like to have children.
ex: there was a well-healed scar in the groin, the remaining testicle was normal, and there was no
  {breast swelling|abdominal mass}.
ix: Before surgery the HCG was <hcg> and the alpha-fetoprotein was [3-480]. The CT scan shows
  enlarged para-aortic lymph nodes up to [22-44] mm, and the lungs are clear.
rx: He will receive three cycles of BEP, that is bleomycin, etoposide and cisplatin, after sperm
  banking and lung function tests.
out: The tumour markers have returned to normal and there is no residual mass on the CT scan, so he
  will move to surveillance.
wr: He is day 3 of cisplatin with good hydration. He has ringing in the ears, which is mild, and
  has passed [2.4-3.8] litres of urine in 24 hours. Magnesium was low and has been replaced.
ask: My hair started coming out this morning and I have a ringing noise in my ears. Is it normal to
  have both?
ans: Hair loss is expected at this stage and it will grow back. The ringing can be due to the
  cisplatin, so we will arrange a hearing test before the next cycle.
%case
vars: age=19-44; node=38-96
dx: classical Hodgkin lymphoma, stage II
pc: <He> noticed a lump in the neck {above the collarbone|on one side}, with drenching night
  sweats, itching and weight loss of [4-9] kg over three months.
hx: <He> had glandular fever as a teenager. There are no other medical problems, and <he> takes no
  regular medicines {apart from the contraceptive pill|apart from vitamins}.
ex: there were rubbery lymph nodes on both sides of the neck, the largest [3-5] cm across. The
  spleen was not palpable.
ix: The biopsy showed Reed-Sternberg cells. The PET scan showed a <node> mm mass in the mediastinum
  and uptake in the nodes of the neck, but no disease below the diaphragm.
rx: Treatment will be with ABVD chemotherapy, given every two weeks, and a PET scan will be
  repeated after two cycles to guide further treatment.
out: The interim PET scan is negative, with a Deauville score of 2, so bleomycin {has been|will be}
  left out of the remaining cycles. The cure rate is high.
wr: <He> was admitted with a fever of [38.2-39.3] and a neutrophil count of [0.0-0.3]. Piperacillin
  with tazobactam was given within an hour, and the temperature has since come down.
ask: My arm aches along the vein where they gave me the last treatment. There is a hard cord under
  the skin.
ans: The vein is irritated by one of the drugs. A warm compress and an anti-inflammatory gel will
  help, and we can talk about a PICC line before the next dose.
%case
vars: age=49-74; sex=f; ca=380-2900; cb=14-31
dx: high-grade serous carcinoma of the ovary, stage IIIC
pc: She presented with abdominal swelling and bloating and {felt full after small meals|needed to
  pass urine more often}. She had been treated for irritable bowel syndrome for several months.
hx: She had an appendicectomy as a girl and takes levothyroxine for an underactive thyroid. Her
  aunt died of ovarian cancer, and she has been found to carry a BRCA1 mutation.
ex: the abdomen was distended with shifting dullness, and a fixed pelvic mass could be felt.
ix: The CA-125 was <ca>. The CT scan showed {bilateral ovarian masses|a complex pelvic mass},
  thickening of the omentum and a large volume of ascites.
rx: She will have three cycles of carboplatin and paclitaxel, then interval debulking surgery, and
  then three more cycles. Olaparib will be offered as maintenance treatment.
out: The CA-125 has fallen to <cb> and the surgeon was able to remove all visible disease. She has
  started olaparib and is tolerating it well.
wr: She was admitted with vomiting and colicky pain. The CT scan showed a partial bowel
  obstruction, which has settled with a nasogastric tube, intravenous fluids and octreotide.
ask: I feel sick every morning since I started the olaparib tablets. Can I take them with food?
ans: Yes, please take them with a light meal, and take the metoclopramide half an hour beforehand.
  It usually gets better after the first month.
%case
vars: age=44-72; br=2.1-4.8; site=back|calf|shoulder|scalp
dx: {resected stage III|metastatic} malignant melanoma
pc: <He> had a mole on the <site> that had changed in colour and {started to bleed|become itchy}
  over {the summer|six months}. <His> partner persuaded <him> to have it looked at.
hx: <He> worked outdoors abroad for many years and burned easily in the sun. <He> has {mild
  psoriasis|vitiligo}, which is relevant to immunotherapy.
ex: there was a scar on the <site> with no sign of local recurrence, and there were no new
  pigmented lesions.
ix: Histology showed a superficial spreading melanoma with a Breslow thickness of <br> mm and
  ulceration. The BRAF V600E mutation was detected. The PET-CT scan was {clear|positive in one
  axillary node}.
rx: We discussed two options, which were {nivolumab|pembrolizumab} every four weeks for a year, or
  dabrafenib and trametinib tablets. <He> chose {the infusion|the tablets}.
out: The one-year scan shows no evidence of disease. <He> has developed an underactive thyroid as a
  result of immunotherapy and takes levothyroxine [50-100] micrograms.
wr: <He> was admitted with grade 3 colitis due to immunotherapy. After intravenous
  methylprednisolone the stool frequency has fallen from [8-12] to [2-4] a day, and the flexible
  sigmoidoscopy showed patchy inflammation.
ask: I have been shivering with a high temperature every evening since starting the new tablets.
  What should I do?
ans: Fevers are common with that combination. Please stop both tablets, take paracetamol and drink
  plenty of fluids, and we will restart them when you have been well for 24 hours.
%case
vars: age=55-76; bil=148-320; blb=22-46
dx: locally advanced adenocarcinoma of the pancreas
pc: <He> developed painless jaundice with dark urine and pale stools, and had lost [6-12] kg in
  weight. <He> had also been newly diagnosed with diabetes.
hx: <He> had a heart attack eight years ago and takes aspirin and a statin. <He> gave up alcohol
  after an attack of pancreatitis.
ex: <he> was jaundiced and thin, with scratch marks on the arms and a palpable gallbladder.
ix: The bilirubin was <bil> on presentation and fell to <blb> after a metal stent was placed at
  ERCP. CT showed a [26-48] mm mass in the head of the pancreas which surrounds the superior
  mesenteric artery.
rx: Surgery is not possible at present because of the involvement of the artery. <He> will start
  {FOLFIRINOX|gemcitabine with nab-paclitaxel}, with pancreatic enzyme capsules with every meal.
out: The tumour is stable on CT, the CA 19-9 has fallen by half, and <he> has gained [1-3] kg since
  starting enzymes.
wr: <He> was admitted with cholangitis due to a blocked stent. Blood cultures grew Klebsiella, and
  the stent was replaced. Bilirubin is now <blb> and falling.
ask: My stools are pale and oily and they float in the pan. I take the enzyme capsules after I have
  finished eating.
ans: Try taking the capsules with the first mouthful and more of them halfway through the meal. If
  that does not help, we can increase the dose.
%case
vars: age=47-70; side=left|right; hpv=positive
dx: squamous cell carcinoma of the <side> tonsil, p16 <hpv>
pc: <He> noticed a lump in the neck while shaving or washing, and had had a sore throat and earache
  on the <side> side for {six|eight} weeks.
hx: <He> stopped smoking twenty years ago. <He> is allergic to penicillin and has {hearing loss
  from factory noise|mild asthma}.
ex: there was a firm, enlarged <side> tonsil and a [2-5] cm node at level II of the neck, with
  normal vocal cord movement.
ix: MRI and PET-CT confirmed a tumour of the <side> tonsil with {one|two} involved nodes on the
  same side. Biopsy showed squamous cell carcinoma that was p16 <hpv>.
rx: The plan is for radical radiotherapy, 65 Gy in 30 fractions over six weeks, with weekly
  cisplatin. <He> has been fitted with a mask and the dentist has removed [1-4] teeth.
out: The PET scan at three months shows a complete response. <His> mouth is still dry and taste is
  slow to return, but the feeding tube has been removed.
wr: <He> is in week 5 of radiotherapy with grade 3 mucositis. <He> can only swallow sips, so the
  feed is running through the gastrostomy at [60-90] ml an hour. Mouth care and liquid morphine
  continue.
ask: My saliva is so thick that it makes me gag, and everything tastes of cardboard. Will it ever
  get better?
ans: It is at its worst now and for about two weeks after the radiotherapy ends. Rinse with salt
  water every two hours, and the taste does usually come back over several months.
%case
vars: age=58-80; side=left|right
dx: transitional cell carcinoma invading the muscle of the bladder
pc: <He> passed visible blood and threadlike clots on three occasions without discomfort. It was
  blamed on warfarin until a flexible cystoscopy was carried out.
hx: <He> spent a career in the dye and rubber industry. There is glaucoma, and a pacemaker was
  fitted in the autumn.
ex: nothing was palpable on bimanual examination under anaesthetic, and the groins were free of
  nodes.
ix: Resection showed a solid growth near the <side> ureteric orifice, with grade 3 urothelial
  cancer in the deep muscle chips. A staging CT was clear.
rx: Three courses of gemcitabine and cisplatin will precede either removal of the bladder with an
  ileal conduit or radiotherapy with a sensitiser, as <he> prefers.
out: Rigid cystoscopy after treatment found only a pale scar, and washings were free of malignant
  cells.
wr: Stoma pink and spouted, stents draining [900-1700] ml. Passing wind, tolerating custard.
  Epidural out. Stoma nurse changing the pouch with <him>.
ask: My urostomy bag leaked all over the bed last night. Am I doing something wrong?
ans: Leaks often mean that the flange has become the wrong size as the swelling goes down. The
  stoma nurse can measure it again, and an overnight drainage bag takes the weight.
%case
vars: age=41-66; side=left|right; lobe=frontal|temporal|parietal
dx: glioblastoma of the <side> <lobe> lobe
pc: <He> had a first seizure while hanging out washing, with jerking of one hand and garbled words.
  Colleagues had noticed uncharacteristic mistakes and irritability for weeks.
hx: <He> was a keen chess player and wrote software. There were no headaches until a month ago.
ex: there was slight pronator drift, slow finger tapping and an upper quadrant visual loss, but
  reading was fluent.
ix: MRI showed a ring-enhancing, necrotic tumour of [32-58] mm with swelling. The pathologist found
  unmethylated MGMT promoter and wild-type IDH.
rx: Following an awake craniotomy with dye-guided resection, <he> will have six weeks of
  radiotherapy with temozolomide. Levetiracetam continues and the licensing agency must be told.
out: There is stable enhancement on the latest MRI, and <he> has begun to dictate a memoir for the
  children.
wr: Seizure free 4 days. Dexamethasone down to 4 mg, glucose [7.2-11.4]. Wound clips intact. Speech
  therapist advises soft diet and short phrases.
ask: The steroids have given me a moon face and I am eating everything in the larder. When can I
  come off them?
ans: We shorten the dose step by step as the swelling subsides. Please never stop them abruptly,
  and keep the blue card in your wallet.
%case
vars: age=50-77; para=18-44
dx: symptomatic multiple myeloma
pc: <He> lost three centimetres in height and suffered stabbing pain between the shoulder blades on
  reaching for a saucepan. Repeated chest infections had also been troublesome.
hx: A harmless paraprotein had been followed for eight years. <He> has shingles scars and
  diet-controlled diabetes.
ex: there was a kyphosis with percussion tenderness at two thoracic levels, and no neurological
  deficit.
ix: The IgG paraprotein was <para> g/L, the marrow contained [24-60] per cent plasma cells and
  whole-body MRI showed many lytic deposits.
rx: Daratumumab, bortezomib, thalidomide and dexamethasone are followed by an autologous
  transplant. Zoledronic acid begins after a dental inspection, with aciclovir cover.
out: The paraprotein has become undetectable from <para>, and a brace is no longer required.
wr: Day +[8-13] after autograft, melphalan mucositis settling. First neutrophils seen. Irradiated
  platelets given. Ice lollies and mouthwash.
ask: My feet burn under the bedclothes and I cannot feel the pedals properly.
ans: That is nerve damage from the bortezomib. Please do not drive, and we will switch to a weekly,
  lower dose under the skin and consider duloxetine.
"""
