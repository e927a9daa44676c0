"""Radiology: synthetic case records, phrase pools and note types."""

SOURCE = """\
%pool grade
{Consultant radiologist|Specialist registrar in radiology|Locum consultant radiologist|Radiology
  fellow}
%pool quality
{The images are of good diagnostic quality|Image quality is satisfactory|There is minor motion
  artefact, but the study is diagnostic}.
{The patient tolerated the examination well|The examination was completed without any
  complications|The patient was able to lie still throughout}.
{No immediate reaction to contrast was seen|The cannula was removed after ten minutes of
  observation|The safety checklist was completed before the scan}.
%pool comparison
{Comparison is made with the previous examination of <date>|Earlier films from another department
  were not available at the time of reporting|No previous imaging is available for comparison|The
  most recent comparable study is dated <date>}.
%pool negatives
<other>
%pool other
{The bones are of normal density for age|No foreign body is seen}, and {the soft tissues are
  unremarkable|there is no subcutaneous gas}.
%pool other_chest
{The trachea and main bronchi are patent|There is minor dependent atelectasis|A few calcified
  granulomas are present in the right lung}, and {the thyroid is unremarkable|the oesophagus is
  normal|there is no pericardial effusion}.
{Incidental note is made of|There is also} {a small hiatus hernia|calcification of the coronary
  arteries|a benign azygos fissure|an old healed rib fracture}, {which is of no clinical
  significance|unchanged over several years|of doubtful relevance to the symptoms}.
{The imaged upper abdomen shows|On the lowest slices there is} {no abnormality of the spleen or
  kidneys|a simple cyst in the left kidney|a haemangioma in the liver|a tiny splenunculus}.
%pool other_neuro
{The ventricles and basal cisterns are normal in size|There is no midline shift|The pituitary fossa
  is not expanded}, and {the orbits are unremarkable|the mastoid air cells are clear|the skull base
  is intact}.
{Mild mucosal thickening is noted in the maxillary sinuses|A small arachnoid cyst is present in the
  middle fossa|A developmental venous anomaly is noted}, {an incidental finding|which needs no
  follow-up}.
%pool other_spine
{The vertebral bodies are of normal height and alignment|Marrow signal is within normal limits|A
  benign haemangioma is noted in L2}, and {the paraspinal muscles are symmetrical|the sacroiliac
  joints are unremarkable|the aorta is of normal calibre}.
{There is mild facet joint degeneration elsewhere|A small annular fissure is noted at the level
  above|No pars defect is demonstrated}, {as is common at this age|without nerve compression}.
%pool other_abdo
{The spleen, pancreas and adrenal glands are unremarkable|The liver outline is as described|There
  is no hernia at the groin}, and {the abdominal aorta is of normal calibre|there is no enlarged
  lymph node|the bladder is thin walled}.
{Incidental note is made of|There is} {a simple renal cyst measuring [8-24] mm|an accessory
  spleen|sigmoid diverticulosis without inflammation|a fat-containing umbilical hernia}, {which
  does not require follow-up|of no clinical significance}.
%pool other_vasc
{The coeliac and superior mesenteric arteries are patent|There is moderate atheroma of the iliac
  bifurcation}, and {the kidneys enhance symmetrically|the spleen and pancreas are
  unremarkable|there is no enlarged lymph node}.
%pool other_child
{The ribs and clavicles are intact|The stomach bubble lies on the left|The growth plates are
  normal}, and {no pleural effusion is seen|the mediastinum is not widened|the upper airway is
  central}.
{The film is slightly rotated|The child was breathing in well|Skin folds project over the apices},
  {which does not affect interpretation|and both diaphragms are clearly seen}.
%pool other_neck
{The carotid arteries are patent|The submandibular glands are unremarkable|No parathyroid lesion is
  seen}, and {the trachea lies centrally|the jugular vein is compressible|the vocal cords move
  symmetrically}.
%pool other_breast
{The skin and nipple are normal|No architectural distortion is seen in the other breast|Vascular
  calcification is noted on both sides}, and {there is a benign intramammary node|a stable
  fibroadenoma is again shown|there has been no change in background density}.
%pool other_limb
{The joint spaces are preserved|Alignment of the remaining bones is normal|No radio-opaque foreign
  body is seen}, and {there is soft tissue swelling|the soft tissues are otherwise unremarkable|no
  lytic or sclerotic lesion is identified}.
%pool comm
{These findings were discussed by telephone with|This result has been communicated to|An alert has
  been sent to} {the referring team|the on-call registrar|the ward doctor|the requesting clinician}
  at [8-17]:[10-58].
{Please correlate with|Correlation is advised with} {the clinical findings|recent blood tests|the
  tumour markers|the previous operation notes}.
{The case will be listed for discussion at the next multidisciplinary meeting|The images have been
  reviewed by a second radiologist, who agrees with this report}.
%note structured
<study>
{Clinical history|Clinical details}: <age>-year-old <man>. <hist>
Technique: <tech> <quality>
Comparison: <comparison>
Findings: <find> <detail> <negatives> <negatives>
Impression: <imp>
Recommendation: <rec>
{Reported by|Verified by}: <grade>
%note short
<study>
{Indication|Reason for the request}: <hist>
{Report|Findings}: <find> <negatives>
Conclusion: <imp> <comm> <rec>
<grade>
%note addendum
Addendum to report
{This addendum should be read together with|The following is an addition to} the original report of
  <date>, {examination|study}: <study>.
{The images have been reviewed again at the request of|This case was looked at again with} {the
  clinical team|the surgical registrar|the consultant in charge}, with the {additional|following}
  clinical information: <hist>
On review, <detail> <negatives> {The original conclusion remains the same|The conclusion is
  unchanged}: <imp> <rec>
%note meeting
{Radiology discrepancy and learning meeting|Imaging multidisciplinary meeting}, <date>
Case [1-8]. <age>-year-old <man>. <hist>
{Study reviewed|Images shown}: <study>. <tech>
{The presenter described the findings as follows.|The findings were presented by the registrar.}
  <find> <detail>
{It was asked whether|The group discussed whether} {the abnormality could be seen on the earlier
  scan|a different sequence would have been helpful|the request contained enough clinical
  information}. {The answer was that, in retrospect, it was visible but very subtle|It was felt
  that the protocol was appropriate|All agreed that the report was clear and timely}.
{Learning point|Outcome}: <imp> <rec>
%note phone
{Telephone discussion with the duty radiologist|Record of vetting call}, <day>, [8-18]:[10-58]
{The surgical registrar|The emergency doctor|The ward doctor|The medical registrar} called to
  {request|discuss} imaging for a <age>-year-old <man>.
Doctor: {I would like to discuss a patient with you.|Could you help me with a scan request?|May I
  run a case past you?|Thank you for taking my call.} <hist>
Radiologist: {What is the kidney function|Is there any allergy to contrast|How unwell is the
  patient at present|Has there been any imaging elsewhere|What is the question that you need
  answered}?
Doctor: {The eGFR is [52-90] and there are no allergies|Observations are stable, with a pulse of
  [72-104]|As far as I can see there is nothing on the system since <date>|My consultant would like
  to know before the round}.
Radiologist: {That sounds reasonable|I agree that imaging is needed}. <tech> {I will call you with
  the result|Please send the patient down within the hour}.
{Result given by telephone|Verbal report}: <find> <imp>
{Advice|Next step}: <rec>
%note letter
{Letter from the department of radiology|Letter to the referring clinician}
Dear {colleague|Doctor},
Thank you for referring this <age>-year-old <man> for {imaging|a further scan}. <hist>
{The examination was carried out on <date>|The scan was performed on <date>}. <tech> <quality> {In
  summary, it shows the following|The main findings are as follows}. <find> <negatives>
{My overall opinion is that|In conclusion,} {the findings are as expected|this explains the
  symptoms}. <imp> <rec> {Please do not hesitate to contact me|I would be happy to discuss this
  further} {if you have any questions|if the clinical picture changes}.
<close>
<grade>
%case
vars: age=58-81; size=24-46; lobe=upper|lower; side=left|right; stage=chest
study: CT chest with contrast
hist: Persistent cough and weight loss in a heavy smoker. The chest X-ray showed an opacity in the
  <side> <lobe> zone. Query malignancy.
tech: Contiguous axial images of the chest and upper abdomen were acquired after 80 ml of
  intravenous contrast.
find: There is a spiculated mass in the <side> <lobe> lobe measuring <size> mm, which {abuts the
  pleura|is inseparable from the chest wall}. There are enlarged <side> hilar and subcarinal lymph
  nodes, up to [13-22] mm in short axis.
detail: the mass has irregular margins and there is a small satellite nodule measuring [4-7] mm.
  There is background centrilobular emphysema.
imp: Appearances are highly suspicious for a primary lung cancer of the <side> <lobe> lobe, with
  involved hilar and mediastinal nodes.
rec: PET-CT and tissue sampling by endobronchial ultrasound are suggested, with urgent referral to
  the lung cancer team.
%case
vars: age=25-74; side=left|right; art=lobar|segmental; stage=chest
study: CT pulmonary angiogram
hist: Sudden onset of pleuritic chest pain and shortness of breath, with a raised D-dimer of
  [900-4200]. Query pulmonary embolism.
tech: Helical images were acquired through the chest with bolus tracking in the main pulmonary
  artery.
find: There are filling defects in the <art> arteries of the <side> lower lobe, in keeping with
  acute pulmonary emboli. The main pulmonary artery is not dilated.
detail: there is a wedge-shaped area of consolidation at the <side> base, consistent with a small
  infarct. The ratio of the right to the left ventricle is 0.[80-95].
imp: Acute <art> pulmonary embolism in the <side> lower lobe without evidence of right heart
  strain.
rec: Anticoagulation should be started if not already given. A search for an underlying cause may
  be considered.
%case
vars: age=62-86; side=left|right; asp=6|7|8|9; stage=neuro
study: CT head and CT angiogram of the neck vessels
hist: Sudden onset of weakness of the opposite face and arm with difficulty in speaking, [1-4]
  hours ago. Stroke call. Query thrombolysis.
tech: Unenhanced images of the brain were followed by an arterial phase study from the aortic arch
  to the vertex.
find: There is a hyperdense <side> middle cerebral artery with early loss of grey-white
  differentiation in the insula. There is no intracranial haemorrhage. The ASPECTS score is <asp>.
detail: the angiogram confirms an occlusion of the M1 segment on the <side>, with good collateral
  flow. There is [40-65] per cent stenosis of the internal carotid artery at its origin.
imp: Acute <side> middle cerebral artery infarct with proximal occlusion. No haemorrhage. ASPECTS
  <asp>.
rec: Immediate discussion with the thrombectomy centre is recommended.
%case
vars: age=19-66; app=9-15; stage=abdo
study: CT abdomen and pelvis with contrast
hist: Pain that started around the umbilicus and moved to the right iliac fossa, with fever and
  raised inflammatory markers. Query appendicitis.
tech: Portal venous phase images were obtained from the diaphragm to the pubic symphysis. No oral
  contrast was given.
find: The appendix is dilated to <app> mm with a thickened, enhancing wall and surrounding fat
  stranding. {An appendicolith is present at the base|No calcified stone is seen in the lumen}.
detail: there is a trace of fluid in the pelvis but no walled-off collection. The terminal ileum
  and caecum are otherwise normal.
imp: Acute uncomplicated appendicitis, with no evidence of perforation or abscess.
rec: Surgical review is advised. There is no need for further imaging unless the patient
  deteriorates.
%case
vars: age=29-58; side=left|right; level=L4/5|L5/S1|L3/4; stage=spine
study: MRI lumbar spine
hist: Low back pain radiating down the <side> leg for [6-14] weeks, with numbness of the foot. No
  bladder or bowel disturbance.
tech: Sagittal T1, T2 and STIR sequences with axial T2 images through the lower three discs.
find: There is loss of disc height and signal at <level>, with a <side> paracentral disc protrusion
  that compresses the traversing nerve root in the lateral recess.
detail: the conus ends at L1 and has normal signal. There is mild facet joint hypertrophy at the
  level above, but no canal stenosis.
imp: Disc protrusion at <level> with compression of the <side> nerve root, which accounts for the
  symptoms. No cauda equina compression.
rec: Conservative treatment may be continued. Referral to the spinal team is suggested if there is
  progressive weakness.
%case
vars: age=22-45; side=left|right; sex=f; stage=abdo
study: Ultrasound pelvis, transabdominal and transvaginal
hist: Pelvic pain on the <side> side and irregular periods. Last menstrual period five weeks ago,
  pregnancy test negative.
tech: Transabdominal and transvaginal scans were performed with verbal consent and a chaperone
  present.
find: The uterus is anteverted and measures [68-92] mm in length, with an endometrial thickness of
  [5-13] mm. The <side> ovary contains a [38-62] mm cyst with low-level internal echoes.
detail: the cyst shows a ground-glass pattern and no internal blood flow on colour Doppler. The
  other ovary is normal in size, with several follicles.
imp: The appearance of the <side> ovarian cyst is typical of an endometrioma.
rec: A repeat scan in three months is suggested, with referral to gynaecology if the pain
  continues.
%case
vars: age=34-71; sex=f; stone=4-14; cbd=5-11; stage=abdo
study: Ultrasound abdomen
hist: Recurrent pain in the right upper quadrant after fatty meals, with abnormal liver function
  tests. Query gallstones.
tech: The abdomen was scanned after a six-hour fast using a curvilinear probe.
find: The gallbladder contains several mobile stones, the largest measuring <stone> mm, which cast
  acoustic shadows. The wall is not thickened. The common bile duct measures <cbd> mm.
detail: the liver is diffusely echogenic, in keeping with fatty change, and has a smooth outline.
  The portal vein is patent with normal direction of flow.
imp: Multiple gallstones without evidence of acute cholecystitis. Fatty liver.
rec: MRCP is advised if the liver function tests remain abnormal, to look for stones in the duct.
%case
vars: age=48-70; sex=f; side=left|right; size=9-22; clock=10|11|1|2; stage=breast
study: Bilateral mammogram and targeted breast ultrasound
hist: Recalled from routine screening because of a new density in the <side> breast. No palpable
  lump.
tech: Craniocaudal, mediolateral oblique and spot compression views with tomosynthesis were
  obtained, followed by ultrasound.
find: There is an irregular, spiculated mass at <clock> o'clock in the <side> breast measuring
  <size> mm. It is hypoechoic with posterior shadowing on ultrasound. The breast density is
  heterogeneous.
detail: a small cluster of pleomorphic microcalcifications lies [10-18] mm anterior to the mass.
  The axillary nodes have thin cortices and normal fatty hila.
imp: Suspicious mass in the <side> breast, category 5. The other breast is normal, category 1.
rec: Ultrasound-guided core biopsy was performed at the same visit under local anaesthetic, and a
  marker clip was placed.
%case
vars: age=5-14; side=left|right; stage=limb
study: X-ray of the <side> wrist and elbow
hist: Fell from a climbing frame on to an outstretched hand. Swelling and tenderness over the
  distal radius.
tech: Frontal and lateral views of the <side> wrist and elbow were taken.
find: There is a buckle fracture of the distal metaphysis of the <side> radius with {minimal|no}
  dorsal angulation. The growth plate is intact and the ulna is normal.
detail: the elbow shows no joint effusion, and the radial head is aligned with the capitellum on
  both views.
imp: Buckle fracture of the <side> distal radius. No fracture or dislocation at the elbow.
rec: A removable splint for three weeks is usually sufficient, without routine repeat imaging.
%case
vars: age=66-90; side=left|right; stage=limb
study: X-ray pelvis and <side> hip, with portable chest X-ray
hist: Fell at home and is unable to bear weight. The <side> leg is shortened and externally
  rotated.
tech: Anteroposterior view of the pelvis, horizontal beam lateral view of the hip and an erect
  portable chest film.
find: There is a displaced intracapsular fracture of the neck of the <side> femur. The pubic rami
  are intact. The bones are osteopenic.
detail: the chest film shows an enlarged heart with upper lobe blood diversion and a small
  effusion. A pacing lead projects over the right ventricle.
imp: Displaced fracture of the neck of the <side> femur. Features of mild heart failure on the
  chest film.
rec: Orthopaedic and orthogeriatric review. A bone health assessment should be arranged.
%case
vars: age=24-49; n=12-26; stage=neuro
study: MRI brain with gadolinium
hist: Episodes of optic neuritis and numbness of the legs over two years. Query demyelination.
tech: Axial T2, sagittal FLAIR, diffusion and T1-weighted images before and after contrast were
  acquired at 3 tesla.
find: There are approximately <n> ovoid white matter lesions in a periventricular, juxtacortical
  and infratentorial distribution. [2-4] of the lesions show ring enhancement.
detail: several lesions are orientated at right angles to the ventricles. There is no restricted
  diffusion, and the volume of the brain is normal for age.
imp: Appearances are those of multiple sclerosis, with dissemination in space and time.
rec: MRI of the cervical and thoracic cord is suggested to complete the assessment, together with
  referral to neurology.
%case
vars: age=57-79; aaa=56-74; stage=vasc
study: CT angiogram of the aorta
hist: Pulsatile abdominal mass found on screening. Planning scan before endovascular repair.
tech: Arterial phase thin-section images from the diaphragm to the femoral heads, with multiplanar
  and volume-rendered reconstructions.
find: There is an infrarenal abdominal aortic aneurysm with a maximum diameter of <aaa> mm and
  eccentric mural thrombus. The neck is [18-31] mm long with minimal angulation.
detail: both common iliac arteries are tortuous but not aneurysmal, and the access vessels measure
  at least [7-9] mm. There is a single renal artery on each side.
imp: Infrarenal aneurysm of <aaa> mm without signs of rupture or leak. Anatomy is suitable for a
  stent graft.
rec: Discussion at the vascular meeting. Interval imaging will be required after repair to exclude
  an endoleak.
%case
vars: age=31-63; sex=m; side=left|right; stone=4-9; hu=480-1120; stage=abdo
study: Low-dose CT of the kidneys, ureters and bladder
hist: Severe <side> loin to groin pain with blood in the urine. Query ureteric colic.
tech: A low-dose unenhanced scan was performed with the patient prone.
find: There is a <stone> mm calculus at the <side> vesicoureteric junction, with a density of <hu>
  Hounsfield units. The <side> ureter and collecting system are mildly dilated.
detail: there is perinephric stranding on the <side>, and a further tiny calculus lies in the lower
  pole of the same kidney.
imp: Obstructing <stone> mm stone at the <side> vesicoureteric junction with mild hydronephrosis.
rec: Urology follow-up within two weeks. If there is fever, urgent decompression by nephrostomy or
  stent should be considered.
%case
vars: age=44-77; vol=3-7; stage=abdo
study: Ultrasound-guided paracentesis
hist: Tense ascites due to alcohol-related cirrhosis, causing discomfort and breathlessness.
tech: After written consent, the left iliac fossa was marked with ultrasound, cleaned and
  infiltrated with lidocaine.
find: A pigtail catheter of 8 French was inserted by the Seldinger technique and <vol> litres of
  straw-coloured fluid drained freely. Samples were sent for cell count, albumin and culture.
detail: the liver is small and nodular with a coarse texture, and the spleen measures [13-17] cm.
  The portal vein shows reversed flow.
imp: Successful drainage of <vol> litres of ascites without complication.
rec: Please give human albumin solution for every two to three litres drained, and remove the
  catheter after six hours.
%case
vars: age=31-62; side=left|right; stage=limb
study: MRI of the <side> knee
hist: Twisting injury during a game of badminton with locking and medial joint line tenderness.
  Query meniscal tear.
tech: Proton density sequences with fat suppression were acquired in three planes using a dedicated
  knee coil.
find: There is a displaced bucket-handle tear of the medial meniscus, with the fragment lying in
  the intercondylar notch. The anterior and posterior cruciate ligaments are intact. There is a
  moderate effusion.
detail: a popliteal cyst measuring [18-44] mm is present, and there is grade 2 thinning of the
  cartilage behind the patella.
imp: Displaced bucket-handle tear of the medial meniscus of the <side> knee. Intact ligaments.
rec: Early referral to an orthopaedic knee clinic is advised, as repair may be possible.
%case
vars: age=68-89; vol=60-140; side=left|right; stage=neuro
study: Unenhanced CT of the head
hist: Increasing confusion and unsteadiness three weeks after a minor bump on the head. Takes
  warfarin, INR [2.4-4.8].
tech: Helical acquisition from the foramen magnum to the vertex, viewed on brain, subdural and bone
  windows.
find: There is a crescent-shaped collection of mixed density over the <side> cerebral convexity, up
  to [11-23] mm in depth. The sulci are effaced.
detail: layers of higher density within the collection suggest repeated bleeding. The estimated
  volume is <vol> ml.
imp: Acute on chronic subdural haematoma on the <side> with local mass effect.
rec: Reversal of anticoagulation and urgent discussion with the neurosurgical unit are recommended.
%case
vars: age=2-4; side=left|right; stage=child
study: Chest X-ray
hist: Fever, cough and fast breathing for three days. Crackles on the <side>. Query pneumonia or
  inhaled peanut.
tech: A single frontal film was obtained with the child held by a parent in a lead apron.
find: There is dense consolidation in the <side> lower zone with an air bronchogram. The cardiac
  outline is normal and the thymus is visible.
detail: no hyperinflation or mediastinal shift is seen to suggest obstruction of a bronchus by a
  foreign body.
imp: Lobar pneumonia at the <side> base.
rec: A follow-up film is only needed if symptoms persist or the clinical course is unusual.
%case
vars: age=36-69; lobe=right|left; size=18-46; stage=abdo
study: MRI of the liver with contrast
hist: Incidental focal lesion found on ultrasound during investigation of bloating. No known
  cirrhosis.
tech: Dynamic imaging was performed after a hepatocyte-specific contrast agent, with delayed images
  at twenty minutes.
find: A well-defined lesion of <size> mm in the <lobe> lobe is bright on T2 and fills in from the
  periphery with nodular enhancement. There is no washout.
detail: a second lesion of [5-9] mm shows the same behaviour. The hepatic veins and bile ducts are
  normal.
imp: Benign haemangioma of the <lobe> lobe of the liver, measuring <size> mm.
rec: No further imaging or surveillance is necessary, and the patient can be reassured.
%case
vars: age=45-76; side=left|right; tr=4|5; size=14-38; stage=neck
study: Ultrasound of the neck with fine needle aspiration
hist: Palpable swelling in the front of the neck that moves on swallowing. Hoarse voice for a
  month. Thyroid function is normal.
tech: High-frequency linear probe. After local anaesthetic, three passes were made with a 25 gauge
  needle under direct vision.
find: There is a solid, hypoechoic nodule in the <side> lobe of the thyroid measuring <size> mm,
  taller than wide, with punctate echogenic foci.
detail: a rounded node at level IV on the same side has lost its fatty hilum. The isthmus and
  parotid glands are normal.
imp: Suspicious <side> thyroid nodule, category U<tr>. Aspiration performed.
rec: The cytology result will be reviewed at the head and neck meeting.
%case
vars: age=52-83; stage=abdo
study: CT of the abdomen and pelvis
hist: Vomiting, distension and no passage of flatus for two days. Laparotomy for a perforated ulcer
  in the past. Query obstruction.
tech: Portal venous phase imaging with coronal reformats. The nasogastric tube had been aspirated
  beforehand.
find: There are dilated loops of small bowel up to [34-48] mm in diameter, with a transition point
  in the right iliac fossa and collapsed ileum beyond it. The bowel wall enhances normally.
detail: a thin band is suspected at the transition point, with a small beak. There is no
  pneumatosis and no gas in the portal vein.
imp: Mechanical small bowel obstruction, probably caused by adhesions, without signs of ischaemia
  or perforation.
rec: Surgical review, fluid resuscitation and consideration of oral water-soluble contrast.
%case
vars: age=60-84; site=T12|L1|L2; stage=spine
study: X-ray and MRI of the thoracolumbar spine
hist: Sudden back pain after lifting a suitcase, in a patient on long-term steroids. Query
  osteoporotic collapse.
tech: Lateral and frontal films were supplemented by sagittal T1 and STIR sequences.
find: There is a wedge compression fracture of <site> with about [25-55] per cent loss of anterior
  height and bone marrow oedema. The posterior wall is not displaced.
detail: the pedicles and posterior elements have preserved signal, and a horizontal fluid cleft
  favours a benign cause.
imp: Recent osteoporotic fracture of <site> without cord compression.
rec: Bone densitometry and treatment of osteoporosis are suggested. Vertebroplasty may be
  considered if pain persists.
"""
