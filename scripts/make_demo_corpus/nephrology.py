"""Nephrology: synthetic case records, phrase pools and note types."""

SOURCE = """\
%pool grade
{Consultant nephrologist|Renal registrar|Dialysis sister|Transplant specialist nurse}
%pool obs
BP [112-158]/[64-88], pulse [62-90], weight [52-96].[1-9] kg, {no oedema|trace of ankle oedema}.
  Urine output [35-110] ml an hour. Bowels {open|not open today}.
euvolaemic, JVP not raised, chest clear, sats [95-99]% on air. {Fluid chart balanced|In [1.1-1.8]
  L, out [1.2-2.4] L}. Temp [36.4-37.3].
%pool extra
{The renal dietitian|A dietitian} {gave advice on|went through} {limiting salt to six grams a
  day|foods that are high in potassium, such as bananas and potatoes|cutting down on phosphate in
  cheese, cola and processed meat}.
{<He> was advised|We reminded <him>} to avoid {ibuprofen and other anti-inflammatory drugs|herbal
  remedies|dehydration in hot weather} and to {stop ramipril and metformin for a day or two if <he>
  has vomiting or diarrhoea|drink about two litres of water a day|check <his> blood pressure at
  home twice a week}.
{Haemoglobin is [96-124] g/L|The haemoglobin was [96-124] g/L} with a ferritin of [118-560], so
  {darbepoetin continues every fortnight|intravenous iron will be given|no change in treatment is
  needed}.
{Calcium is [2.18-2.46]|Adjusted calcium was [2.18-2.46]}, phosphate [0.9-1.7] and parathyroid
  hormone [8-42], and {alfacalcidol was adjusted|the phosphate binder should be taken with
  meals|these results are satisfactory}.
{The hepatitis B vaccine|The pneumococcal vaccine|The annual flu vaccine} {has been given|is due},
  and <he> {was reminded about foot care|is up to date with eye screening}.
{We talked about|The nurse explained} {haemodialysis, peritoneal dialysis and
  transplantation|dialysis at home and in hospital|conservative care without dialysis}, and <he>
  {would like to visit the unit|is leaning towards treatment at home|wants to talk to <his> family
  first}.
%note dialysis
Dialysis unit {monthly review|quality round}, <day> {morning|afternoon|twilight} shift
<age>-year-old <man>. {Cause of kidney disease|Renal diagnosis}: <dx>.
{Access|Vascular access}: {left brachiocephalic fistula, good thrill|right internal jugular
  tunnelled line|left radiocephalic fistula with buttonhole needling}. {Blood flow|Pump speed}
  [280-400] ml per minute, Kt/V 1.[2-7], dry weight [54-92].[1-9] kg, {average gain between
  sessions|fluid gain} [1.1-2.8] kg.
{How is the patient?|Symptoms:} {<He> has had some cramps in the last hour of dialysis|<He> feels
  washed out for a few hours after each session|<He> sleeps well, but is troubled by itching}. <hx>
  <social>
Examination: <ex>
Bloods: <extra> <extra>
{Plan|Changes}: <out> <recap>
%note biopsy
{Procedure note|Renal biopsy record}, <date>
Indication: <dx>. {Summary|Clinical details}: <pc> <ix>
{Consent|Before the procedure}: {the risks of bleeding, transfusion and, rarely, loss of the kidney
  were explained|written consent was obtained and clotting was normal}. Blood pressure was
  [118-144]/[66-86]. {Aspirin had been stopped for a week|No blood thinners are taken}. Allergies:
  <allergy>.
Procedure: {with the patient lying prone,|in the prone position,} the {left|right} kidney was
  {located|marked} with ultrasound and measured [9.6-11.8] cm. Under local anaesthetic [2-3] cores
  were taken with a 16 gauge needle. {There was no immediate haematoma|A small perinephric
  haematoma was seen, without active bleeding}.
Afterwards: bed rest for six hours, with observations every {fifteen|thirty} minutes at first.
  {Urine was clear|The first urine was pink and then cleared}.
Histology and outcome: <bx> <rx>
%note registrar
{On-call registrar note|Medical referral to the renal team}, [1-11].[10-58] {am|pm}
{Asked to see|Referred by the medical team}: <age>-year-old <man>.
HPC: <pc>
PMH: <hx>
O/E: <ex>
Ix: <ix>
Imp: <dx>.
{Plan|Advice}: <rx> {Strict fluid balance and daily weight|Catheter and hourly urine output}.
  {Repeat U&E in six hours|Avoid contrast and nephrotoxic drugs}. {Discussed with the
  consultant|Will review in the morning}. <extra>
%case
vars: age=58-84; cr=380-610; cr2=104-148; k=6.4-7.1; k2=4.6-5.3
dx: acute kidney injury due to dehydration and medication
pc: <He> had diarrhoea and vomiting for five days and continued to take ramipril, furosemide and
  naproxen. <He> became drowsy and had passed very little urine.
hx: <He> has type 2 diabetes, heart failure and gout. The creatinine was [88-124] three months ago.
ex: <he> was dry and confused, with cool hands, blood pressure of [82-96]/[46-58] and a bladder
  that was not palpable.
ix: Creatinine was <cr> and potassium was <k>, with tall T waves on the ECG. Ultrasound showed two
  normal kidneys without obstruction.
rx: Calcium gluconate, insulin with dextrose and nebulised salbutamol were given, followed by
  intravenous fluids. Ramipril, furosemide and naproxen were stopped.
bx: No tissue diagnosis was required in the end, since the kidney function was already improving,
  and the sample showed acute tubular injury only.
out: Creatinine has recovered from <cr> to <cr2>, and potassium is <k2>. Ramipril may be restarted
  at a low dose in two weeks.
wr: Passing [1.8-3.2] L a day now. K down from <k> to <k2>. Creatinine <cr> falling. Alert and
  asking for tea.
ask: Can I go back on the naproxen for my gout? My toe is throbbing.
ans: Please do not take naproxen again, because it was part of the reason for the kidney injury.
  The doctor can prescribe a short course of prednisolone instead.
%case
vars: age=46-74; egfr=24-34; acr=82-240
dx: chronic kidney disease stage 4 due to diabetic nephropathy
pc: <He> was referred because of a gradual fall in kidney function over three years, with
  increasing protein in the urine and swelling of the ankles.
hx: <He> has had type 2 diabetes for twenty years with laser treatment to both eyes and numbness of
  the feet. <He> takes gliclazide and insulin glargine.
ex: there was mild pitting oedema, blood pressure was [142-164]/[76-88], and there was background
  retinopathy.
ix: the eGFR was <egfr> ml per minute and the urine albumin to creatinine ratio was <acr>. HbA1c
  was [58-74]. Ultrasound showed kidneys of normal size.
rx: Losartan was increased to 100 mg and dapagliflozin 10 mg was added. Atorvastatin was increased,
  and metformin was stopped.
bx: The sample showed thickened basement membranes and nodular glomerulosclerosis, as expected in
  diabetes.
out: the eGFR has been stable at <egfr> for a year and the albumin ratio has halved. Blood pressure
  at home averages [126-134]/[70-78].
wr: In with infected foot ulcer, kidney function at baseline. eGFR <egfr>. Podiatry and vascular
  review today.
ask: Since starting the new diabetes tablet I have had itching and soreness down below. Is it
  related?
ans: It can cause thrush because there is more sugar in the urine. A cream or a single capsule
  usually clears it, and good hygiene prevents it from coming back.
%case
vars: age=19-42; prot=380-920; alb=14-21
dx: nephrotic syndrome due to minimal change disease
pc: <He> noticed puffy eyes in the morning and then swelling of the legs up to the thighs. The
  urine was frothy, and <he> had gained [6-12] kg in two weeks.
hx: <He> has hay fever and had eczema as a child. <He> had taken diclofenac for a sprained ankle.
ex: there was oedema of the face, legs and sacrum, with shifting dullness and signs of a small
  pleural effusion.
ix: Albumin was <alb> g/L and the urine protein to creatinine ratio was <prot>. Cholesterol was
  [8.2-11.4]. Complement and autoantibodies were normal.
rx: Prednisolone 60 mg daily was started with a proton pump inhibitor and vitamin D. <He> was given
  furosemide, a salt restriction and a prophylactic anticoagulant.
bx: Light microscopy was normal, immunofluorescence was negative, and electron microscopy showed
  effacement of the foot processes.
out: <He> was in complete remission after [3-6] weeks, and the dipstick is now negative. Steroids
  are being reduced slowly.
wr: Weight down 1.[1-9] kg, albumin <alb>. Oedema to knees. On IV furosemide twice daily, no clots.
  Sugars 7 to 11 on steroids.
ask: My morning dipstick has shown three plus of protein for two days. I feel well. Should I wait?
ans: Three days in a row counts as a relapse, so test again tomorrow and ring us with the result.
  If your ankles swell before then, we will see you the same day.
%case
vars: age=17-39; cr=92-164; prot=110-260
dx: IgA nephropathy
pc: <He> passed cola-coloured urine {two days|one day} after a sore throat. Blood and protein had
  also been found at a medical examination for work.
hx: There is no deafness in the family. <He> has never had a rash or painful joints, and takes no
  regular tablets.
ex: blood pressure was [138-156]/[82-94], the tonsils were enlarged, and there was no oedema or
  rash.
ix: Creatinine was <cr>, the urine protein ratio was <prot>, and microscopy showed red cell casts.
  Hepatitis serology was negative.
rx: Irbesartan was started and increased to the maximum dose, with advice on salt and smoking. A
  course of targeted-release budesonide was discussed.
bx: There was mesangial proliferation with IgA deposits and segmental sclerosis in [2-4] of [14-22]
  glomeruli.
out: The protein ratio has fallen below 50 and the creatinine is stable at <cr>. Visible blood has
  not recurred.
wr: Observed overnight after biopsy, urine clear x3, Hb stable, no pain. Home with written advice
  and no heavy lifting for two weeks.
ask: I have a cold and my urine is dark again. Do I need antibiotics?
ans: Probably not, since blood often appears with a cold in this condition and settles in a few
  days. Drink plenty, and bring a sample for testing if it lasts for longer than that.
%case
vars: age=54-76; cr=310-560; cr2=140-190
dx: ANCA-associated vasculitis with rapidly progressive glomerulonephritis
pc: <He> had felt unwell for two months, with night sweats, nosebleeds, aching joints and weight
  loss. <He> then coughed up blood and was found to have kidney failure.
hx: <He> had been treated for sinusitis with several courses of antibiotics. <He> keeps pigeons and
  had worked with silica.
ex: there was a purpuric rash on the shins, crusting in the nose, and crackles at both lung bases.
ix: Creatinine was <cr> and had doubled in a week. PR3 antibodies were strongly positive. The chest
  CT showed cavitating nodules.
rx: Intravenous methylprednisolone was given for three days, followed by rituximab, low-dose
  cyclophosphamide and avacopan. Co-trimoxazole was added to prevent pneumocystis infection.
bx: There was necrotising glomerulonephritis with crescents in [9-14] of [16-20] glomeruli and no
  immune deposits.
out: Creatinine has improved from <cr> to <cr2>, and <he> is off dialysis. Maintenance rituximab is
  given every six months.
wr: No further haemoptysis for 48 h. Rituximab dose 1 given, no reaction. Creatinine <cr>, possible
  plateau. Urine 1.2 L.
ask: I have a painful rash in a band around my chest, with blisters. Could it be the treatment?
ans: That sounds like shingles, which is more common when the immune system is suppressed. Please
  come today, as antiviral tablets work best within three days.
%case
vars: age=29-55; size=15-22; egfr=38-58
dx: autosomal dominant polycystic kidney disease
pc: <He> came with aching in the loins and an episode of blood in the urine. <His> {mother|father}
  started dialysis at the age of [48-56].
hx: <He> has had high blood pressure since <his> twenties and two infected cysts. An aunt died of a
  brain haemorrhage.
ex: both kidneys were easily palpable and the liver edge was irregular. Blood pressure was
  [136-152]/[84-92].
ix: MRI showed kidneys of up to <size> cm in length with innumerable cysts. the eGFR was <egfr>.
  There was no aneurysm on the brain scan.
rx: Tolvaptan was offered because of rapid progression, with monthly liver tests in the first
  eighteen months. Candesartan continues.
out: <He> copes with the thirst and drinks [4-6] litres a day. the eGFR has fallen by only [1-3] ml
  in a year from <egfr>.
wr: Cyst infection, day 4 of ciprofloxacin. Temp normal since yesterday, CRP halved. PET positive
  at left upper pole.
ask: My son is eighteen and wants to know if he has inherited it. Is a scan the right thing?
ans: A scan at his age is very reliable, but it helps to talk first about insurance and what the
  result would mean for him. We can refer him to the genetics clinic.
%case
vars: age=34-66; cr=118-152; tac=6.2-9.4
dx: a kidney transplant from a living donor
pc: <He> received a kidney from <his> {sister|brother|cousin} [2-7] years ago, having been on
  peritoneal dialysis because of reflux nephropathy.
hx: <He> had an episode of BK virus and was treated for basal cell carcinoma of the nose. <He>
  takes tacrolimus, mycophenolate and prednisolone 5 mg.
ex: the graft in the right iliac fossa was not tender, and there were several warts on the hands
  and a fine tremor.
ix: Creatinine was <cr>, the tacrolimus level was <tac> and the BK virus load was undetectable.
  Doppler ultrasound of the graft was normal.
rx: The dose of tacrolimus was reduced slightly and mycophenolate was continued. <He> should use
  high-factor sunscreen and attend the skin clinic every year.
bx: There was mild tubular inflammation without rejection of the vessels, and staining for C4d was
  negative.
out: The graft is working well, with creatinine of <cr> for the past year. <He> has taken part in a
  charity walk.
wr: Graft biopsy result: borderline changes. Methylpred 500 mg dose 2 of 3. Creatinine <cr>. Tac
  level <tac>. Good urine output.
ask: The practice has given me clarithromycin for a chest infection. Is it safe with my transplant
  tablets?
ans: No, please do not take it, because it makes the tacrolimus level rise sharply. I will ask the
  doctor to change it to doxycycline today.
%case
vars: age=38-70; wc=1200-5400
dx: end-stage kidney disease treated with peritoneal dialysis
pc: <He> developed abdominal pain and noticed that the drained fluid was cloudy. <He> had changed
  the bag in {a hotel room|a caravan} over the weekend.
hx: The kidney failure was caused by high blood pressure. <He> has been on automated peritoneal
  dialysis for [1-4] years and hopes for a transplant.
ex: the abdomen was tender all over with some guarding. The exit site was clean and there was no
  tunnel infection.
ix: The white cell count in the fluid was <wc>, and the culture grew a coagulase-negative
  staphylococcus.
rx: Vancomycin and gentamicin were given into the bags and then changed according to sensitivities
  for two weeks. The exchange technique was checked by the nurse.
out: The fluid was clear after [2-4] days and the catheter was saved. Adequacy and ultrafiltration
  are unchanged.
wr: PD peritonitis day 3. Bags clear, cell count down from <wc> to under 100. Pain settled. Vanc
  level 18, re-dose tomorrow.
ask: The machine keeps alarming for slow drain and I have not opened my bowels for four days.
ans: Constipation is the most common cause of slow drainage. Take two sachets of the laxative
  tonight, change position, and call again if the fluid is cloudy.
%case
vars: age=61-82; sex=m; cr=410-720; vol=1.2-2.4
dx: obstructive nephropathy due to an enlarged prostate
pc: He had been getting up six times a night and dribbling for months. He then became sick and
  itchy, and his GP found a very high creatinine.
hx: He has chronic obstructive lung disease. He had taken a decongestant for a cold, which made his
  stream worse.
ex: there was a smooth mass up to the umbilicus, dull to percussion, and a large, benign prostate.
ix: Creatinine was <cr>. Ultrasound showed bilateral hydronephrosis and a bladder containing <vol>
  litres.
rx: A urethral catheter drained <vol> litres, and fluids were replaced to match the diuresis.
  Tamsulosin and finasteride were started, with urology follow-up.
out: Creatinine settled at [138-186] after relief of the obstruction. He is waiting for a laser
  operation on the prostate.
wr: Post-obstructive diuresis [4-7] L in 24 h, replacing half with saline. Lying and standing BP
  ok. Creat <cr>, coming down.
ask: There is blood in the catheter bag after I bent over in the garden. Should I be worried?
ans: A little pink staining is common. Drink more water, and if there are clots or it stops
  draining, you need to come in to have it flushed.
%case
vars: age=42-69; na=112-119; na2=129-134
dx: severe hyponatraemia due to a thiazide diuretic
pc: <He> had been unsteady, forgetful and nauseated for a week, and then had a short seizure in the
  kitchen. Bendroflumethiazide had been started [2-4] weeks before.
hx: <He> takes citalopram for anxiety and has been drinking a lot of water on the advice of a
  magazine. There is no heart, liver or adrenal disease.
ex: <he> was drowsy but rousable, and was judged to be euvolaemic. There was no focal weakness.
ix: Sodium was <na> mmol/L, with plasma osmolality of [238-252] and urine osmolality of [360-520].
  Cortisol and thyroid function were normal.
rx: A bolus of 150 ml of 3 per cent saline was given in the high dependency unit,
  bendroflumethiazide was stopped, and sodium was checked every two hours to avoid rapid
  correction.
out: Sodium rose from <na> to <na2> over three days without complication. <He> should never take a
  thiazide again.
wr: Na <na> on arrival, [119-124] at 24 h, now <na2>. No more seizures. Fluid restrict 1.2 L. CT
  head normal.
ask: I have been told to drink less, but I am so thirsty. Are there any tricks?
ans: Small cups, ice cubes, sugar-free sweets and rinsing the mouth all help. Please keep to one
  and a half litres a day until the blood test on Friday.
%case
vars: age=23-48; sex=f; cr=96-180; prot=190-480
dx: lupus nephritis, class IV
pc: She developed swollen ankles, a facial rash and painful hands. She also had mouth ulcers and
  had lost a good deal of hair.
hx: Lupus was diagnosed four years ago, and she takes hydroxychloroquine. She had one miscarriage.
  She hopes to become pregnant in a few years.
ex: there was a butterfly rash with ulcers on the palate. Blood pressure was [144-162]/[88-98], and
  she had oedema to the knees.
ix: Creatinine was <cr> with a protein ratio of <prot>. Double-stranded DNA antibodies were very
  high, and C3 and C4 were low.
rx: Methylprednisolone was followed by oral prednisolone, mycophenolate mofetil and belimumab.
  Contraception was discussed, since mycophenolate can harm an unborn baby.
bx: There was diffuse proliferative nephritis with wire loops and a full house of immune deposits.
out: The protein ratio has fallen from <prot> to [28-60], and prednisolone is down to 5 mg. She has
  returned to teaching.
wr: Methylpred x3 complete. BP better on amlodipine. Creat <cr>. Platelets 98, rising. Husband
  updated. Aim home tomorrow.
ask: We would like to try for a baby next year. Do I just stop the mycophenolate?
ans: Please do not stop it on your own. It should be changed to azathioprine at least three months
  before, once the lupus has been quiet for half a year.
%case
vars: age=44-71; ca=3.12-3.68; ca2=2.38-2.59; cr=240-420; cr2=118-160
dx: myeloma cast nephropathy
pc: <He> had complained of back pain, thirst and constipation since a holiday, and a routine blood
  test showed anaemia and a sharp rise in creatinine.
hx: <He> works with pesticides on a farm. There was a crushed vertebra two years ago after a minor
  stumble.
ex: <he> was pale with tender ribs, dry skin and normal blood pressure. There was no rash and the
  bladder was empty.
ix: Creatinine was <cr>, calcium was <ca> and serum free kappa light chains were above [2400-6800]
  mg/L. The skeletal survey showed punched-out lesions in the skull.
rx: Saline, dexamethasone and bortezomib were started with the haematologists, and a single dose of
  pamidronate was given.
bx: The tubules contained fractured, waxy casts surrounded by giant cells, with negative Congo red
  staining.
out: Creatinine has improved to <cr2>, calcium is <ca2> and a stem cell harvest is being planned.
wr: Calcium <ca> on admission, now <ca2>. Day 4 of dexamethasone, hungry and sleepless. Creatinine
  falling from <cr>. Marrow report awaited.
ask: The steroid days leave me wide awake at night and snapping at everyone. Is there a trick to
  it?
ans: Take the whole dose at breakfast and warn the household. If it is unbearable, the
  haematologist can lower it for the next course.
%case
vars: age=32-63; stone=7-19; side=left|right
dx: recurrent calcium oxalate kidney stones
pc: <He> has passed [3-6] stones since leaving school, the last one after a sauna weekend, with
  agonising colic on the <side>.
hx: Part of the small intestine was removed for Crohn's disease. <He> eats spinach daily, drinks
  strong tea and dislikes plain water.
ex: there was slight tenderness in the <side> renal angle and a midline scar, and the blood
  pressure was normal.
ix: CT showed a <stone> mm stone in the <side> lower pole. The 24-hour collection contained excess
  oxalate, little citrate and a volume of only [0.9-1.4] litres.
rx: The aim is a pale urine of more than two and a half litres a day, less rhubarb, nuts and
  chocolate, more dairy calcium at mealtimes and potassium citrate.
out: No new stones have formed for eighteen months and the citrate level has doubled.
wr: Lithotripsy yesterday, passing gravel. Sieve the urine. Colic settled with diclofenac
  suppository. Stent stays for two weeks.
ask: I have caught a little brown stone in a tea strainer. Is it worth keeping?
ans: Certainly, please dry it and bring it in a clean pot. The laboratory can tell us what it is
  made of, which decides the diet.
"""
