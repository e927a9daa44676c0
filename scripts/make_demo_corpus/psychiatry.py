"""Psychiatry: synthetic case records, phrase pools and note types."""

SOURCE = """\
%pool grade
{Consultant psychiatrist|Specialty doctor in psychiatry|Community psychiatric nurse|Clinical
  psychologist}
%pool obs
calm on approach, {ate half of <his> supper|drank tea with other patients|spent time in the
  garden}, no use of restraint. {General observations every hour|Intermittent observations four
  times an hour}.
{settled in <his> room|pacing in the corridor at times}, accepted medication, {slept for [4-8]
  hours|awake until two in the morning}. Physical observations normal.
%pool extra
{A care coordinator has been allocated|The care plan was reviewed and signed|A crisis plan has been
  agreed} and <he> {has been given|holds} {a copy|the number of the crisis line}.
{We discussed|I talked about} {regular sleep, exercise and a structured day|cutting down on alcohol
  and cannabis|ways of managing anxious thoughts|debt advice and housing support}, and <he> {felt
  that this would be helpful|was willing to try|agreed to keep a diary}.
{<He> has been referred|A referral has been made} to {the recovery college|the employment adviser|a
  mindfulness group|the carers' support service|the occupational therapist} {for support with daily
  routine|to build confidence}.
{Blood tests, weight and an ECG|Lipids, prolactin and blood glucose} will be {checked before the
  next appointment|repeated in three months}.
{<His> family feel that|<His> partner says that} <he> is {more like <his> old self|still very low
  in the mornings|talking more and laughing again|difficult to live with at the moment}.
%pool personal
<He> was born {by normal delivery|a few weeks early} and grew up {in a small town|by the sea|on a
  busy estate} with {two sisters|an older brother|<his> grandparents}. <His> childhood was {happy
  on the whole|marked by frequent moves|overshadowed by arguments between <his> parents}.
<His> parents separated when <he> was {seven|nine|twelve}, and <he> {lived with <his> mother|went
  to boarding school|spent two years in foster care}. <He> {enjoyed school and had many friends|was
  bullied at school|left school at sixteen with few qualifications}.
{There is a family history of|Several relatives have suffered from} {depression|alcohol
  dependence|bipolar disorder|dementia}, {on <his> mother's side|in the previous generation}. <He>
  has had {one long relationship|two marriages|several short relationships} and {has one child|has
  no children}.
%pool risk
{There were no thoughts of self-harm|<He> denied any suicidal thoughts or plans|There are fleeting
  thoughts that life is not worth living, but no intent}, and {<he> described <his> family as a
  reason to live|there is no history of violence|risk to others is considered to be low}.
{The risk of self-neglect is moderate|Risk is currently judged to be low|The main risk is of
  relapse if medication is stopped}, and {this will be kept under review|the family know how to
  call the crisis team|protective factors include a supportive partner}.
%pool insight
<He> {accepts that <he> is unwell|has partial insight|believes that stress is to blame} and {is
  willing to take treatment|would prefer talking therapy to tablets|has the capacity to decide
  about treatment}.
%note assessment
{Initial assessment|New referral}, {community mental health team|outpatient psychiatry}, <date>
Presenting complaint: <pc>
Past psychiatric history: <hx>
Personal and family history: <personal>
Social history: <social>
Mental state examination: <mse>
Risk: <risk> Insight: <insight>
{Formulation|Impression}: this is a <age>-year-old <man> with <dx>. <ix>
{Management plan|Plan}: <rx>
%note cpa
{Care programme meeting|Discharge planning meeting}, <date>
Present: {the patient, the consultant, the care coordinator and a relative|the patient, the ward
  manager, the social worker and the psychologist}.
The consultant {summarised the admission|opened the meeting}. <He> is <age> years old and has <dx>.
  <pc> <rx>
The patient said {that <he> felt listened to|that the groups on the ward had helped|that <he>
  wanted to go home}. <out> <insight>
The {social worker|care coordinator} {asked about finances and housing|explained what support would
  be available}. <extra> <risk>
{Date of next meeting|Next review}: <date>.
%note therapy
{Psychology session note|Cognitive behavioural therapy}, session [2-14]
<He> arrived {on time|ten minutes late|early} and we {set the agenda together|began by reviewing
  the week}. <He> said, "<ask>"
I {reflected|responded} that {this must be very hard|it made sense given what <he> has been
  through}. <ans> We {looked at the links between thoughts, feelings and behaviour|completed a
  thought record|practised a breathing exercise} and {considered the evidence for and against the
  belief|identified what makes it better or worse}.
{Background|Link with earlier life}: <personal>
<formal>
Homework: {to write down three good things each day|to walk to the park twice before the next
  session|to practise the exercise every evening}. <risk>
%note mse
{Ward review|Mental state examination on the ward}, <day>
<age>-year-old <man>, {informal|detained under section 2|detained under section 3}, with <dx>.
<mse> <risk> <insight>
Nursing report: <obs>
{Progress|Course}: <wr>
Plan: <rx> <extra> <recap>
%case
vars: age=24-66; phq=16-24; phq2=4-9
dx: a moderate to severe depressive episode
pc: <He> described low mood for {four|six} months, with early morning waking, loss of appetite and
  an inability to enjoy anything. <He> has been off work since <he> {was made redundant|broke down
  in tears in the office}.
hx: There was an episode of depression {at university|after the birth of <his> first child}, which
  was treated with fluoxetine. There have been no admissions to hospital.
mse: <He> was casually dressed, with poor eye contact and slow speech. <His> mood was low and <his>
  affect was flat. <He> expressed feelings of guilt and worthlessness. There were no hallucinations
  or delusions.
ex: <he> appeared tired and tearful, and spoke quietly with long pauses.
ix: The PHQ-9 score was <phq>. Thyroid function, vitamin B12 and full blood count were normal.
rx: Sertraline was started at 50 mg and will be increased to 100 mg after two weeks, together with
  behavioural activation and a referral for cognitive behavioural therapy.
out: The PHQ-9 has fallen from <phq> to <phq2>. <He> has returned to work on reduced hours and is
  sleeping better.
wr: Brighter in mood, coming out of room for meals. Sertraline tolerated, mild nausea only.
  Escorted leave to the shop went well.
ask: I wake at four every morning and lie there going over all the things that I have done wrong.
ans: Waking early with worrying thoughts is part of the depression, and it should ease as the
  treatment starts to work.
%case
vars: age=21-34; sex=m; pan=58-84
dx: paranoid schizophrenia
pc: His mother reported that he had become withdrawn over the past year. He believed that the
  neighbours were spying on him through the television and heard voices {commenting on his
  actions|telling him that he was being followed}.
hx: He had a first episode of psychosis three years ago, for which he was admitted to hospital. He
  stopped taking risperidone {last summer|because of weight gain}. He has smoked cannabis since the
  age of fifteen.
mse: He was unkempt and suspicious, looking around the room as if listening to voices. His speech
  was difficult to follow at times. He described thought insertion and a fixed belief that he was
  under surveillance. He was orientated.
ex: he was guarded and distracted, but not aggressive, and he smelled of tobacco.
ix: The urine drug screen was positive for cannabis. The PANSS score was <pan>. CT of the head was
  normal.
rx: He was started on aripiprazole tablets with a view to a monthly depot injection, and the early
  intervention team will offer family therapy.
out: The voices are now in the background and he no longer covers the television. He has joined a
  football group.
wr: Responding to unseen stimuli at times, less so than last week. Aripiprazole 15 mg, no stiffness
  or tremor. Cannabis wipes clear.
ask: The voices get louder when I am on the bus, and I think that everyone can hear what I am
  thinking.
ans: Many people find that listening to music through headphones helps with voices, and it can also
  help to test out whether anybody reacts.
%case
vars: age=28-57; li=0.6-0.8
dx: bipolar affective disorder, current episode manic
pc: <He> had hardly slept for a week and had spent {a large sum of money|all of <his> savings} on
  {musical instruments|a business idea|presents for strangers}. <His> partner became worried when
  <he> started to send messages to politicians.
hx: There have been two previous manic episodes and one severe depression. <He> had stopped <his>
  lithium because <he> felt well.
mse: <He> was brightly dressed and overfamiliar, with rapid, pressured speech and flight of ideas.
  <His> mood was elated but quickly became irritable. <He> had grandiose ideas about <his> special
  powers. Concentration was poor.
ex: <he> was restless and could not remain seated, and <he> sang in the corridor.
ix: Kidney and thyroid function were normal. The lithium level was <li> mmol/L after one week of
  treatment.
rx: Olanzapine was given at night, lithium was restarted, and <he> agreed to hand over <his> bank
  cards to <his> partner for safe keeping.
out: <His> mood has been stable for three months on lithium, with a level of <li>. <He> recognises
  lack of sleep as an early warning sign.
wr: Slept 6 hours, first time this week. Less pressured, still disinhibited at meals. Lithium level
  <li>. No leave yet.
ask: I feel that the tablets have taken away my spark, and I miss the energy that I used to have.
ans: It is natural to miss the highs, and it may help to write down what each episode has cost as
  well as what it gave.
%case
vars: age=19-45; gad=15-20
dx: generalised anxiety disorder with panic attacks
pc: <He> worries all day about {<his> health and the health of <his> children|money, work and being
  late}, and has had sudden attacks of chest tightness, tingling and fear of dying {in the
  supermarket|on trains}.
hx: <He> was a shy child who found it hard to be apart from <his> mother. <He> has been seen in the
  emergency department three times, and the heart tests were normal.
mse: <He> was well kept and polite, but sat on the edge of the chair and wrung <his> hands. Speech
  was normal in rate. <His> mood was anxious. There was no evidence of psychosis.
ex: <he> was tense and sweating, with a fine tremor and a pulse of [88-104].
ix: The GAD-7 score was <gad>. Thyroid function tests and an ECG were normal.
rx: We agreed on a course of cognitive behavioural therapy with graded exposure. Escitalopram 10 mg
  was offered and propranolol was avoided because of asthma.
out: <He> can now travel by train alone and has not had a panic attack for six weeks.
wr: Two panic attacks this week, both managed with breathing exercises. No diazepam needed.
  Attending anxiety group daily.
ask: When my heart starts to race I am sure that I am going to collapse in front of everyone.
ans: A racing heart is uncomfortable but not dangerous, and the fear passes more quickly if you
  stay where you are.
%case
vars: age=72-88; moca=13-19
dx: Alzheimer's disease of moderate severity
pc: <His> {daughter|son|nephew} has noticed memory problems for two years. <He> repeats the same
  questions, {gets lost on familiar walks|leaves the gas on}, and has accused the carer of stealing
  <his> purse or wallet.
hx: There is no previous psychiatric history. <He> has high blood pressure and had a small stroke.
  <He> gave up driving last year.
mse: <He> was neatly dressed and friendly, but looked to <his> relative for answers. Speech was
  fluent with some difficulty in finding words. <He> was not depressed. <He> was disorientated in
  time and could recall none of five words.
ex: gait was slow but steady, and there was no tremor or rigidity.
ix: The MoCA score was <moca> out of 30. MRI showed atrophy of the hippocampus on both sides.
  Vitamin B12, folate and calcium were normal.
rx: Donepezil was started at 5 mg, and a referral was made for cognitive stimulation therapy, a day
  centre and a carer's assessment. A lasting power of attorney was discussed.
out: <He> tolerates donepezil 10 mg and enjoys the day centre, especially the singing. <His> family
  feel that things are stable.
wr: Confused in the late afternoon, looking for <his> mother. Settled with music and a walk. No
  sign of infection, bowels open.
ask: I keep losing my glasses, and I think that somebody comes into the house and moves them.
ans: It is upsetting when things go missing, and a special place for keys and glasses with a label
  may make each day easier.
%case
vars: age=22-38; sex=f
dx: emotionally unstable personality disorder
pc: She came to the emergency department after taking an overdose of [16-30] paracetamol tablets
  following an argument with her partner. She described feeling empty and fearing that people will
  leave her.
hx: She has cut her arms since the age of thirteen. There have been several short admissions, and
  she has found dialectical behaviour therapy helpful in the past.
mse: She was tearful but engaged well. There were healed scars on the forearms. Her mood changed
  rapidly during the interview. She said that she regretted the overdose. There was no psychosis.
ex: she was medically well, with superficial cuts that did not need stitches.
ix: Paracetamol level was above the treatment line and she received acetylcysteine. Liver function
  remained normal.
rx: No new medication was prescribed. She will be seen within 48 hours by the crisis team and will
  restart the weekly skills group.
out: She has used her distress tolerance skills and has not harmed herself for four months.
wr: One incident of head banging, responded well to talking with named nurse. Skills group
  attended. Aim for short admission.
ask: When he does not reply to my message I feel as if I have stopped existing.
ans: That feeling of being abandoned is very powerful, and we can use the skills to ride it out
  without acting on it.
%case
vars: age=38-61; sex=m; unit=90-160; ciwa=14-22
dx: alcohol dependence with withdrawal
pc: He has been drinking about <unit> units a week, mainly {vodka|strong cider}, since the end of
  his marriage. He wakes with shaking and sweating, and drinks to steady himself.
hx: He had a withdrawal seizure two years ago. He has attended mutual support meetings, and was
  abstinent for nine months with the help of acamprosate.
mse: He was flushed and tremulous, but cooperative. His mood was low and he felt ashamed. He had
  seen insects on the wall during the night, but there were no hallucinations at interview. He was
  orientated.
ex: he had a coarse tremor, a pulse of [98-116], spider naevi and an enlarged liver.
ix: The CIWA score was <ciwa> on admission. Gamma GT was [240-880] and platelets were low at
  [84-138]. Magnesium was low and was replaced.
rx: He was given a reducing course of chlordiazepoxide and intravenous vitamins. Acamprosate will
  be started after detoxification.
out: He has been abstinent for ten weeks, and attends the recovery group. He has started to see his
  children again.
wr: Day 3 of detox, CIWA down from <ciwa> to [4-7]. Tremor mild, eating better, no seizures.
  Pabrinex day 3.
ask: I walk past the off-licence on my way home and my feet seem to turn in without me.
ans: Cravings usually peak and pass within half an hour, so a different way home and a phone call
  to a friend can make a real difference.
%case
vars: age=27-38; sex=f; wk=two|three|four; epds=19-25
dx: postpartum psychosis
pc: She became perplexed and sleepless <wk> weeks after the birth of her first baby. She told her
  husband that the baby had been swapped and that the clocks contained messages.
hx: She had been well before, apart from anxiety in her teens. Her mother has bipolar disorder.
mse: She was bewildered and her mood changed from hour to hour. Her speech was disjointed. She held
  delusional beliefs about the baby and at times seemed to hear voices. She was disorientated in
  time.
ex: she was restless and exhausted, with normal temperature and blood pressure.
ix: Infection and thyroid disease were excluded. The Edinburgh postnatal depression score was
  <epds>.
rx: She was admitted to the mother and baby unit, where olanzapine was started and lithium was
  discussed. The nursery nurses help her to care for the baby.
out: She recovered fully within eight weeks and feels close to her baby. A plan for any future
  pregnancy has been written.
wr: Slept five hours with olanzapine 15 mg. Fed and bathed baby with support, smiling at times.
  Husband visiting daily.
ask: I feel so guilty that I did not know my own baby, and I worry that it will happen again.
ans: This illness is nobody's fault, and with a good plan the chance of staying well after another
  birth is much better.
%case
vars: age=29-52; yb=24-32
dx: obsessive-compulsive disorder
pc: <He> spends [3-6] hours a day washing <his> hands and checking the locks. <He> fears that
  {germs will harm <his> children|a fire will start and it will be <his> fault}. <His> skin is
  cracked and <he> is late for work every day.
hx: Rituals began at the age of eleven with counting and arranging toys. <He> has taken sertraline
  with partial benefit. <He> had tics as a child.
mse: <He> was neatly dressed, with red and chapped hands. <He> was embarrassed by <his> symptoms
  and recognised them as excessive. The thoughts were intrusive and <his> own. <His> mood was
  anxious.
ex: there was dermatitis of both hands, but no other abnormality.
ix: The Yale-Brown score was <yb>, which is in the severe range.
rx: Exposure and response prevention will be provided weekly, with sertraline increased to 200 mg.
  Clomipramine is the next step if there is no response.
out: Washing has fallen to [20-40] minutes a day and <he> arrives at work on time.
wr: Used the communal kettle without cleaning it, which was a goal. Anxiety 7 out of 10, fell to 3
  in forty minutes.
ask: I know that the door is locked, but it does not feel locked, so I have to go back.
ans: The doubt is produced by the disorder, and each time you resist going back the feeling loses
  some of its strength.
%case
vars: age=26-44; caps=38-56
dx: post-traumatic stress disorder
pc: <He> has nightmares and flashbacks of {a road traffic collision|an assault|an explosion during
  military service} [1-4] years ago. <He> avoids crowds, startles at loud noises and feels cut off
  from other people.
hx: <He> had no mental health problems before the event. <He> used alcohol to help with sleep for
  the first year, but has since stopped.
mse: <He> was on edge and chose the chair nearest to the door. <He> became distressed when
  describing the event. <His> mood was anxious and low. There were no psychotic symptoms, and <he>
  was fully orientated.
ex: <he> was vigilant and jumped when a door slammed, but settled after a few minutes.
ix: The trauma symptom score was <caps>. A screen for head injury was negative.
rx: <He> will be offered twelve sessions of eye movement desensitisation therapy, with venlafaxine
  for the depressive symptoms and prazosin for nightmares if needed.
out: The nightmares now occur once a month and <he> was able to attend a firework display with
  <his> children.
wr: Nightmare at 3 am, used grounding card with night staff. Venlafaxine 150 mg, blood pressure
  normal. Joined art therapy.
ask: When I smell petrol I am back there, and I can hear the glass breaking.
ans: A flashback is a memory that has not been filed away yet, and therapy can help the brain to
  put it in the past.
%case
vars: age=17-24; sex=f; bmi=13.9-15.4
dx: anorexia nervosa of the restricting type
pc: She has restricted her food for eighteen months and exercises for three hours a day. She is
  frightened of gaining weight, although friends have told her that she looks ill. Her periods
  stopped a year ago.
hx: She was seen by the adolescent eating disorders team at fifteen. She has always set herself
  very high standards and plays the cello.
mse: She was pale and wore several layers of clothing. Her speech was soft. Her mood was low and
  she was preoccupied with calories and body shape. There was no suicidal intent. Concentration was
  reduced.
ex: body mass index was <bmi>, pulse was [44-54], and she could rise from a squat only with the
  help of her arms.
ix: Potassium was [3.1-3.4] and was replaced. Phosphate was [0.70-0.84]. The ECG showed sinus
  bradycardia.
rx: She has agreed to a meal plan of 1400 kcal, rising every three days, with daily blood tests,
  thiamine and individual therapy.
out: She has reached a body mass index of [17.1-18.2] and is planning to go back to college.
wr: Weight up 0.[4-9] kg since Monday. Completed all meals, needed prompting with puddings. Bloods
  stable, potassium normal.
ask: Part of me wants to get better, and part of me is terrified of letting go of the rules.
ans: It takes courage to say both of those things, and we will work with the part that wants to
  have a life again.
"""
