"""Cardiology: synthetic case records, phrase pools and note types."""

SOURCE = """\
%pool grade
{Consultant cardiologist|Cardiology registrar|Heart failure nurse specialist|Associate specialist
  in cardiology}
%pool obs
HR [58-88], BP [104-142]/[58-84], sats [94-98]% on air, apyrexial. {Telemetry quiet
  overnight|Occasional ectopics on the monitor|No arrhythmia seen}. Weight [61-98] kg.
pulse [60-92] regular, BP [108-146]/[60-86], JVP {not raised|raised 2 cm}, chest {clear|a few
  crackles at the bases}, {no oedema|mild ankle oedema}. Urine output [45-90] ml an hour.
%pool extra
{Cardiac rehabilitation will start in [2-5] weeks|A place on the exercise class has been booked},
  and {we discussed salt, portion size and brisk walking|the dietitian gave advice about oily fish
  and pulses}.
{<He> may drive again once the statutory interval has passed|Flying is best avoided for the first
  two weeks}, and {lifting should be light to begin with|<he> should carry the spray at all times}.
{Home blood pressure readings averaged [118-138]/[68-84] over a week|The resting pulse at home is
  between [54-60] and [66-78] beats per minute}.
{The total cholesterol is [3.4-4.6] mmol/L on treatment|LDL cholesterol has come down to [1.3-1.9]
  mmol/L}, {with no muscle pain|and the same dose of statin will continue}.
{<He> weighs <himself> each morning and keeps a chart|The pharmacist went through the tablets with
  <him>}, and {a blood test for kidney function will be repeated in two weeks|the dose will be
  increased as tolerated}.
{A repeat echocardiogram|A 24-hour tape|An exercise test} {has been requested|will be arranged}
  {before the next visit|in three months}.
%pool extra_young
{<He> may go back to work|<He> can return to light exercise} {in [2-4] weeks|when the symptoms have
  settled}, and {we discussed caffeine, alcohol and sleep|the nurse gave advice about hydration and
  rest}.
{Home blood pressure readings averaged [108-126]/[62-78] over a week|The resting pulse at home is
  between [54-60] and [66-78] beats per minute}.
{A repeat echocardiogram|A 24-hour tape|An exercise test} {has been requested|will be arranged}
  {before the next visit|in three months}.
{The pharmacist went through the tablets with <him>|<He> was given the number of the nurse
  helpline}, and {a blood test will be repeated in two weeks|a letter for the employer was
  provided}.
%note report
<study>
{Reason for test|Indication}: <dx>. <age>-year-old <man>. <pc>
{Findings|Report}: <rep>
{Comment|Interpretation}: {the findings are in keeping with the clinical diagnosis|the appearances
  fit with the symptoms} of <dx>. <rx> <extra>
{Reported by|Physiologist and reporting doctor}: <grade>
%note procedure
{Procedure record|Catheter laboratory record}, <date>
Patient: <age>-year-old <man>. Indication: <dx>.
{Clinical details|History}: <pc> <hx>
{Consent|Before the procedure}: {the risks of bleeding, stroke, heart attack and emergency surgery
  were explained|written consent was obtained after a discussion of the risks and benefits}.
  Allergies: <allergy>.
Procedure: <proc>
{Recovery|After the procedure}: {the patient returned to the ward in a stable condition|there were
  no complications}. <out> <extra>
%note mdt
{Heart team meeting|Joint cardiology and cardiac surgery meeting}, <date>
Case [1-9]: <age>-year-old <man> with <dx>.
{The registrar presented the case.|History as presented:} <pc> <hx> <ix>
Discussion: {the surgeon asked about frailty and lung function|the imaging cardiologist reviewed
  the echocardiogram again|the anaesthetist raised the question of kidney function|the chair noted
  the wishes of the patient}. {The clinical frailty score is [2-5]|Gait speed is good for <his>
  age}. {All agreed that|It was agreed that} {the evidence supports the proposed treatment|the
  benefits outweigh the risks}.
Outcome: <rx> {The patient will be informed by telephone|The referring doctor will write to the
  patient}. <recap> <extra>
%case
vars: age=54-82; trop=210-1900; ef=42-50; art=left anterior descending|right coronary|circumflex
dx: non-ST elevation myocardial infarction
pc: <He> was woken by a heavy pain across the chest which {spread to the jaw|travelled down both
  arms} and was associated with sweating and nausea. It lasted for [40-90] minutes.
hx: <He> has type 2 diabetes and high blood pressure, and <his> father died of a heart attack at
  the age of fifty-eight.
ex: <he> was pale and clammy, with a pulse of [84-104] and blood pressure of [132-164]/[78-94].
  There was no murmur and the lungs were clear.
ix: Troponin rose from [28-60] to <trop> ng/L and the ECG showed {T wave inversion in the lateral
  leads|ST depression in V4 to V6}. Angiography showed a severe stenosis of the <art> artery.
rx: A drug-eluting stent was placed in the <art> artery. <He> will take aspirin for life and
  ticagrelor for twelve months, together with bisoprolol, ramipril and atorvastatin 80 mg.
out: There has been no further pain since the stent. The ejection fraction is <ef> per cent with
  mild regional hypokinesia.
wr: Pain free for [18-40] hours. Radial site soft, a little bruised. Peak troponin <trop>. Walked
  to the day room.
ask: I get a sigh of breathlessness out of nowhere since I started the ticagrelor. Is that the
  heart again?
ans: It is a well-known effect of that tablet and often settles within a few weeks. Please do not
  stop it, because the stent could block without it.
proc: Right radial access was obtained with a 6 French sheath and heparin was given. The left main
  stem was free of disease. The <art> stenosis was predilated with a [2.0-2.5] mm balloon and a
  stent of [2.5-3.5] by [15-28] mm was deployed with an excellent result.
%case
vars: age=48-76; art=inferior|anterior; door=31-74
dx: <art> ST elevation myocardial infarction
pc: <He> developed crushing central chest pain {in the supermarket queue|while clearing leaves}
  about [40-150] minutes before the ambulance arrived, and vomited twice.
hx: <He> smoked until recently and had never seen a cardiologist, although the cholesterol was
  found to be raised at a medical examination for work.
ex: <he> was restless with cool hands and feet, a pulse of [52-68] and blood pressure of
  [92-112]/[54-70]. The heart sounds were quiet.
ix: The ECG in the ambulance showed [3-5] mm of ST elevation in the <art> leads with reciprocal
  depression. The door-to-balloon time was <door> minutes.
rx: Primary angioplasty restored normal flow, and <he> was started on dual antiplatelet therapy, a
  small dose of a beta blocker, eplerenone and a high-intensity statin.
out: There was a short run of idioventricular rhythm after reperfusion, but no shock was needed.
  <He> went home on day [3-4].
wr: Day 2 after primary PCI. Comfortable. ECG: ST segments settled, Q waves in three leads. Wrist
  fine, echo today.
ask: I cannot sleep for thinking that it will happen again. Is that normal?
ans: Yes, most people feel shaken for several weeks after a heart attack. The rehabilitation team
  can help, and short twinges that last for a few seconds are rarely from the heart.
study: Transthoracic echocardiogram
rep: The <art> segments are akinetic and the ejection fraction is [38-47] per cent by the biplane
  method. There is mild mitral regurgitation and no left ventricular thrombus. Right ventricular
  function is preserved, and there is a trivial pericardial effusion.
proc: Emergency angiography showed a complete thrombotic occlusion of the culprit vessel. A wire
  was passed, thrombus was aspirated and a stent of [3.0-4.0] mm was placed. Slow flow improved
  after adenosine. The door-to-balloon time was <door> minutes.
%case
vars: age=67-90; bnp=2100-9800; ef=22-34; k=3.0-3.3; k2=4.1-4.6; wt=4-9
dx: decompensated heart failure with reduced ejection fraction
pc: <He> has been increasingly short of breath for [2-5] weeks and now sleeps in an armchair. The
  ankles have swollen and <he> has gained several kilograms in weight.
hx: <He> has had two heart attacks in the past, and has gout, stage 3 chronic kidney disease and an
  implanted defibrillator.
ex: the jugular venous pressure was raised to the ear lobe, with a displaced apex beat, a third
  heart sound, crackles at both bases and pitting oedema to the sacrum.
ix: NT-proBNP was <bnp> ng/L. Potassium fell to <k> mmol/L on the furosemide infusion and was <k2>
  after replacement. The ejection fraction was <ef> per cent.
rx: <He> was treated with a furosemide infusion and then bumetanide by mouth. Sacubitril with
  valsartan replaced ramipril, and dapagliflozin and spironolactone were added.
out: <He> lost <wt> kg and can now climb a flight of stairs and sleep flat with one pillow.
wr: Down another [0.8-1.9] kg. K <k>, replaced, now <k2>. Chest clearer. Catheter out, restrict
  fluid to 1.5 L. Ferritin low, for IV iron.
ask: The scales say that I have put on three kilos since Sunday and my slippers are tight. What
  should I do?
ans: Please take one extra water tablet each morning for three days, and weigh yourself every day.
  We will check the kidneys and salts next week, and sooner if the breathing gets worse.
study: Echocardiogram report
rep: The left ventricle is severely dilated, with an end-diastolic diameter of [62-71] mm and an
  ejection fraction of <ef> per cent. There is global hypokinesis and moderate functional mitral
  regurgitation. The estimated pulmonary artery pressure is [45-62] mmHg and the inferior vena cava
  is dilated.
%case
vars: age=58-84; rate=112-148
dx: newly diagnosed atrial fibrillation
pc: <He> noticed fluttering in the chest that comes in bursts, and a smartwatch warned of an
  irregular rhythm. <He> gets tired on hills but has never lost consciousness.
hx: <He> has sleep apnoea and wears a mask at night. An overactive thyroid was treated in <his>
  forties, and there is no history of stroke.
ex: the pulse was irregularly irregular at <rate> beats per minute, with blood pressure of
  [124-148]/[72-90] and no signs of heart failure.
ix: Thyroid function was normal. The echocardiogram showed a left atrium of [42-49] mm with normal
  function of the left ventricle. The CHA2DS2-VASc score is [2-4].
rx: Apixaban 5 mg twice daily was started to prevent a stroke, with bisoprolol for rate control.
  Cardioversion is planned in six weeks, and ablation will be discussed if symptoms persist.
out: <He> has been in sinus rhythm since a single shock of 150 joules, with no bleeding on the
  anticoagulant.
wr: Rate <rate> overnight, then [78-94] after second dose of bisoprolol. No reversible cause, TFT
  and CRP normal. Start DOAC today.
ask: I missed my apixaban last night. Do I take two now to catch up?
ans: No, just take the next one at the usual time. A pill box or an alarm on the phone can help,
  because the protection wears off within a day.
study: Twelve-lead electrocardiogram
rep: The rhythm is atrial fibrillation with a ventricular rate of <rate> beats per minute. The axis
  is normal and there are nonspecific ST changes in the lateral leads. The corrected QT interval is
  [412-448] ms. There is no evidence of pre-excitation.
proc: Uninterrupted anticoagulation was confirmed. Under sedation with propofol, pads were placed
  on the front and back of the chest and a single synchronised shock of 150 joules restored sinus
  rhythm at [56-70] beats per minute.
%case
vars: age=72-91; grad=44-68; area=0.6-0.8
dx: severe aortic stenosis
pc: <He> has become breathless on walking up a hill and fainted once while carrying the shopping.
  There is tightness in the chest on exertion, but not at rest.
hx: A heart murmur was noted many years ago. <He> has polymyalgia, has had both cataracts removed
  and is independent in daily life.
ex: the pulse was slow rising, and there was a harsh ejection systolic murmur that radiated to both
  carotid arteries, with a soft second heart sound.
ix: The mean gradient across the valve is <grad> mmHg with an area of <area> square centimetres.
  The coronary arteries are unobstructed.
rx: Transcatheter aortic valve implantation through the femoral artery is recommended, after a
  dental check. Vasodilators should be avoided in the meantime.
out: The new valve is working well with a mean gradient of [7-12] mmHg and a trivial leak. A
  pacemaker was not needed.
wr: Day 1 post TAVI. Groin soft, small haematoma marked. PR interval [180-220] ms, stable,
  temporary wire out. Hb [98-121]. Sit out.
ask: How long should I wait before I lift my grandson and go back to the allotment?
ans: Please wait for a fortnight so that the groin can heal, and lift nothing heavier than a kettle
  for ten days. After that, build up slowly.
study: Transthoracic echocardiogram
rep: The aortic valve is heavily calcified and hardly opens. The peak velocity is [4.2-5.1] metres
  per second, the mean gradient is <grad> mmHg and the valve area is <area> square centimetres.
  There is concentric hypertrophy with an ejection fraction of [55-64] per cent and mild aortic
  regurgitation.
proc: Under local anaesthetic the right femoral artery was punctured with ultrasound guidance.
  After balloon dilatation under rapid pacing, a [23-29] mm prosthesis was deployed at the target
  depth. The aortogram showed a trace of leak only.
%case
vars: age=64-88; pause=3.2-7.8
dx: complete heart block
pc: <He> collapsed without warning in the garden and was found by a neighbour. <He> looked grey for
  a minute and then flushed, and was quite lucid afterwards.
hx: <He> takes bisoprolol for high blood pressure and metformin for diabetes. An old ECG showed
  right bundle branch block.
ex: the pulse was regular at [28-38] beats per minute with cannon waves in the neck, and there was
  a graze over the cheekbone.
ix: The ECG showed complete heart block with a broad escape rhythm, and the longest pause was
  <pause> seconds. Electrolytes and troponin were normal.
rx: Bisoprolol was stopped and a dual-chamber pacemaker was implanted. <He> must not drive for one
  week.
out: The pacemaker check showed good thresholds in both leads, the wound is clean and there have
  been no more blackouts.
wr: Ventricular pacing 98%. CXR: leads in good position, no pneumothorax. Sling overnight, dressing
  off at day 10.
ask: There is a large bruise and some swelling over the pacemaker. Should I be worried?
ans: A bruise that moves down the chest is expected. If there is heat, pus, fever or increasing
  pain, please come in on the same day, and never let anyone put a needle into it.
study: Pacemaker check
rep: The device is programmed to DDD mode with a base rate of 60 beats per minute. The atrial
  threshold is 0.[4-9] volts and the P wave is [2.1-4.6] mV. The ventricular threshold is 0.[5-9]
  volts with an R wave of [7-14] mV. The estimated battery life is [8-12] years.
proc: The left axillary vein was punctured under lidocaine. The ventricular lead was placed on the
  septum and the atrial lead in the appendage. The pocket was washed with antibiotic solution and
  closed with an absorbable suture.
%case
vars: age=24-46; stage=young
dx: acute pericarditis
pc: <He> developed sharp pain behind the breastbone, which was worse on lying flat and better on
  leaning forward, about a week after a sore throat and cold.
hx: <He> is otherwise fit, trains for triathlons and has no risk factors for heart disease.
ex: a scratchy rub was heard at the left sternal edge, with a temperature of [37.4-38.2] and a
  normal venous pressure.
ix: The ECG showed widespread ST elevation with PR depression. CRP was [38-112] mg/L, troponin was
  normal, and there was a small effusion of [4-9] mm on the echocardiogram.
rx: Ibuprofen 600 mg three times daily with omeprazole was started, with colchicine 500 micrograms
  twice daily for three months. <He> should rest from training until the blood tests are normal.
out: The pain went away in four days and the CRP was [2-5] mg/L at review.
wr: Rub softer. CRP falling, [18-36] today. Pain 2/10 on NSAID and colchicine. Echo unchanged, home
  today.
ask: The colchicine gives me diarrhoea. Can I stop it now that the pain has gone?
ans: Try taking it once a day instead of stopping. It reduces the chance of another attack by about
  a half, so it is worth carrying on if you can.
study: Twelve-lead electrocardiogram
rep: There is sinus rhythm at [82-104] beats per minute. There is concave ST elevation in leads I,
  II and V2 to V6 with depression of the PR segment, and the reverse changes in aVR. There are no Q
  waves.
%case
vars: age=19-38; wall=17-26; stage=young
dx: hypertrophic cardiomyopathy
pc: <He> came for family screening after the sudden death of a cousin during a race. <He> has had
  palpitations during football and once felt faint on the stairs.
hx: An uncle has a defibrillator. <He> was told at school that <his> breathlessness was due to
  asthma.
ex: there was a jerky pulse and a systolic murmur at the left sternal edge that became louder on
  standing.
ix: The septum measured <wall> mm with systolic anterior motion of the mitral valve. A pathogenic
  variant in the MYBPC3 gene was found.
rx: <He> was started on bisoprolol and advised to drink plenty and to avoid competitive sprinting.
  The risk of sudden death will be calculated each year.
out: The five-year risk is estimated at [3-6] per cent. First-degree relatives have been invited
  for screening and genetic counselling.
wr: Admitted after collapse at gym. No VT on monitor in 36 h. Septum <wall> mm. Avoid nitrates and
  diuretics. For MRI.
ask: My younger brother wants to join the rowing club. Does he have to wait until he has been
  tested?
ans: Yes, I would ask him to wait until the echocardiogram and the ECG have been done. It is only a
  precaution, and we should be able to see him within two weeks.
study: Cardiac magnetic resonance scan
rep: There is asymmetric septal hypertrophy with a maximum thickness of <wall> mm. The left
  ventricular mass index is [88-124] grams per square metre and the cavity is small. Late
  enhancement is seen in [4-14] per cent of the muscle. The apex is spared.
%case
vars: age=28-67; org=Streptococcus mitis|Staphylococcus aureus|Enterococcus faecalis; veg=7-16;
  valve=mitral|aortic; stage=young
dx: infective endocarditis of the <valve> valve
pc: <He> has had fevers, night sweats and weight loss for six weeks, following treatment for a
  dental abscess. <He> also noticed a cold, painful toe.
hx: <He> has a known valve abnormality that was under surveillance. <He> has never injected drugs
  and has no artificial valve.
ex: temperature was [38.1-39.4], with splinter haemorrhages in the nails, a new murmur and a
  palpable spleen.
ix: Three sets of blood cultures grew <org>. The transoesophageal echocardiogram showed a mobile
  vegetation of <veg> mm on the <valve> valve without an abscess. CRP was [88-210].
rx: Intravenous antibiotics were chosen with the microbiologist and will be given for six weeks
  through a long line. The surgeons will review <him> every week.
out: Blood cultures were sterile after four days and the fever settled. The <valve> valve was
  repaired in the third week.
wr: Day [6-24] of antibiotics. Max temp [36.9-37.6]. PR interval stable at [164-190] ms. CRP
  halved. <org>, fully sensitive.
ask: My line has a red track and the nurse could not give today's dose. What now?
ans: Please do not use the line and come up to the unit before six. We will give the dose here, and
  the doctor will look at the arm and take cultures.
study: Transoesophageal echocardiogram
rep: There is a mobile vegetation of <veg> mm attached to the <valve> valve, with moderate
  regurgitation. There is no root abscess and no perforation of the leaflets. The other valves are
  normal, and the ejection fraction is [56-66] per cent.
%case
vars: age=19-36; rate=176-214; stage=young
dx: supraventricular tachycardia due to an accessory pathway
pc: <He> has sudden attacks of rapid heartbeat with pounding in the neck. They start and stop like
  a switch and last from ten minutes to two hours.
hx: The attacks were thought to be panic for several years. <He> drinks several cups of coffee a
  day, and is otherwise healthy.
ex: the pulse was regular at <rate> beats per minute with blood pressure of [98-112]/[60-68], and
  <he> was anxious but not distressed.
ix: The ECG showed a narrow complex tachycardia at <rate> beats per minute. After adenosine there
  was sinus rhythm with a short PR interval and a delta wave.
rx: <He> was taught the modified Valsalva manoeuvre, and catheter ablation was recommended in
  preference to long-term medication.
out: There has been no recurrence in the three months since the ablation, and the delta wave has
  disappeared.
wr: Reverted with adenosine 12 mg. Baseline ECG shows delta wave, PR 98 ms. Refer
  electrophysiology, home with safety advice.
ask: It has been racing for forty minutes and I feel faint. I have tried holding my breath.
ans: Please sit on the floor, unlock the front door and call an ambulance now. Do not drive. The
  crew can do an ECG and bring you to us.
proc: Three sheaths were placed in the right femoral vein. The pathway was mapped to the left
  lateral side, and a transseptal puncture was performed. Radiofrequency energy of [30-40] watts
  abolished conduction in [1.8-6.4] seconds, without recurrence after isoprenaline.
%case
vars: age=41-70; side=left|right
dx: pulmonary embolism with right heart strain
pc: <He> became suddenly breathless ten days after knee surgery, with sharp chest pain on breathing
  in and a swollen <side> calf.
hx: <He> had a clot in the leg at the age of thirty and is overweight. There is no history of
  cancer.
ex: the respiratory rate was [22-30], saturations were [86-91]% on air, the pulse was [108-128],
  and the <side> calf was [3-5] cm larger than the other.
ix: CT showed a large embolus in both main pulmonary arteries. Troponin was [38-140] ng/L, and the
  right ventricle was dilated on the echocardiogram.
rx: Intravenous heparin was given with thrombolysis held in reserve, and <he> then changed to
  rivaroxaban, which will continue for at least six months.
out: <He> was off oxygen by the third day, and the right ventricle was normal at three months.
wr: Sats [93-96]% on 2 L. HR down to [84-98]. Echo: RV less dilated. Lactate 1.[1-4]. Switch to
  DOAC today.
ask: My gums bleed when I brush my teeth since I started the blood thinner. Is the dose too strong?
ans: The dose is higher for the first three weeks and then comes down. Use a soft brush, and call
  us if a nosebleed lasts for more than fifteen minutes.
study: Bedside echocardiogram
rep: The right ventricle is dilated, with a ratio to the left ventricle of more than one, and the
  free wall is hypokinetic with a lively apex. TAPSE is [11-15] mm. The estimated pulmonary
  pressure is [48-62] mmHg. The left ventricle is small and contracts well.
%case
vars: age=38-62; bp=176-214; na=138-145
dx: resistant hypertension due to primary aldosteronism
pc: A routine visit to the optician revealed small retinal haemorrhages, and the blood pressure was
  <bp>/[98-118] in spite of four drugs. There were headaches and muscle cramps.
hx: <His> mother had a stroke at fifty. <He> denies liquorice, decongestants or cocaine, and does
  not snore.
ex: blood pressure was <bp> systolic in both arms, with a sustained apex beat, no abdominal bruit
  and no delay of the femoral pulses.
ix: Potassium was [2.9-3.3] mmol/L and was replaced before testing. The ratio of aldosterone to
  renin was three times the upper limit, and CT showed an adrenal nodule of [9-18] mm.
rx: Spironolactone was added and increased gradually, doxazosin was withdrawn, and adrenal vein
  sampling was requested from the endocrine surgeons.
out: Average home readings are now [126-138]/[74-86] with potassium of [4.2-4.9] and two fewer
  tablets.
wr: BP [148-168] systolic on labetalol infusion, lowering slowly. Fundi grade 3, no papilloedema.
  Sodium <na>, K replaced.
ask: The new pill has made my chest tender, which is embarrassing. Is there an alternative?
ans: Yes, eplerenone works in the same way and is much less likely to do that. I shall ask for a
  prescription this afternoon.
study: Ambulatory blood pressure recording
rep: The mean daytime pressure was [158-176]/[92-104] mmHg and the nocturnal dip was absent. There
  were [52-64] valid measurements. Peaks coincided with a stressful meeting and with shovelling
  snow according to the diary.
%case
vars: age=55-79
dx: chronic stable angina
pc: A band of pressure comes on at the second hill of the golf course and fades within five minutes
  of rest or a spray. Cold wind and heavy meals make it worse.
hx: Bypass grafting was carried out fifteen years ago. There is peripheral arterial disease, with
  calf pain after [150-400] yards, and statins have caused aching.
ex: there was a sternotomy scar, yellow deposits around the eyelids, a bruit over one carotid and
  weak foot pulses.
ix: Perfusion imaging showed reversible ischaemia of the inferolateral wall involving [8-16] per
  cent of the muscle.
rx: Ranolazine was added and the nitrate was moved to the morning. A fresh angiogram would only be
  justified if the symptoms advance.
out: Attacks have fallen from daily to monthly and <he> completes nine holes with a trolley.
wr: Admitted for observation, troponin negative twice. Tender costal cartilage reproduces pain.
  Nitrate increased, home this afternoon.
ask: The spray gives me a pounding headache and a hot face. Would half a dose do?
ans: One puff while sitting down is fine. Repeat after five minutes if needed, and dial 999 if the
  discomfort has not eased by ten.
study: Myocardial perfusion scan
rep: During regadenoson stress there was flushing and mild tightness without ST shift. A reversible
  defect is seen in the basal inferolateral territory, with a small fixed apical scar. Gated
  ejection fraction is [52-61] per cent.
%case
vars: age=29-54; sex=f; stage=young
dx: postural tachycardia syndrome
pc: Since a viral illness she has felt light-headed on standing, with a racing pulse, brain fog and
  shaky legs in queues, hot showers and on the escalator.
hx: She is hypermobile, bruises easily and has irritable bowels. She teaches ceramics and has cut
  back to two afternoons.
ex: the pulse rose from [66-76] to [112-128] within ten minutes of standing, without a fall in
  pressure, and her hands turned mottled and purple.
ix: Morning cortisol, ferritin, catecholamines and the echocardiogram were all unremarkable.
rx: She will drink three litres daily with extra salt, wear waist-high compression garments, and
  begin recumbent rowing. Ivabradine is held in reserve.
out: She now manages a museum visit with rests and has resumed pottery evenings.
wr: Tilt test positive at minute six, no syncope. Salt tablets tolerated. Physio gave graded
  programme. For discharge.
ask: I keep needing the toilet with all this fluid. Is it really worthwhile?
ans: It usually takes a month for the circulation to adapt. Front-load the bottles before noon and
  add an electrolyte sachet.
study: Head-up tilt table test
rep: Resting heart rate was [66-76]. On tilting to seventy degrees it climbed to [112-128] beats
  per minute by the sixth minute with reproduction of giddiness. Pressure was maintained, and
  symptoms vanished on lying down.
"""
