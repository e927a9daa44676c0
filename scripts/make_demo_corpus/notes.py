"""Phrase pools and note types that several specialties share (synthetic text, in the notation of `records`)."""

SOURCE = """\
%pool date
[1-28] {January|February|March|April|May|June|July|August|September|October|November|December}
%pool day
{Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday}
%pool init
{QX|ZV|XJ|VQ|JZ|ZX|QY|XV|YQ|KX|XZ|VJ|QK|ZQ|YX|WQ}
%pool job
<retired>{bus driver|plasterer|school cook|postal worker|librarian|welder|seamstress|dairy farmer}
<retired>{shop manager|lorry driver|tax adviser|florist|chef|roofer|cleaner|bookkeeper|baker}
<retired>{music teacher|electrician|security guard|warehouse packer|gardener|barber|taxi driver}
<retired>{bank clerk|mechanic|painter and decorator|nursery nurse|tailor|joiner|translator|plumber}
%pool hobby
{grows vegetables on an allotment|sings in a choir|keeps bees|walks the dog twice a day}
{plays the piano|repairs old clocks|swims most mornings|paints watercolours|bakes bread}
{volunteers at a charity shop|cycles along the river|goes line dancing|builds model ships}
{enjoys crossword puzzles|follows the local football team|reads detective novels|knits for the
  family}
%pool home
{lives alone|lives with a partner|lives with two cats|lives next door to a brother} in a
  {bungalow|second-floor flat|terraced house|farm cottage|housing association flat}
shares {a house|a small flat|a cottage} with {a sister|a friend|an elderly parent|a cousin}
%pool social
<He> is a <job> who <home>. In <his> spare time <he> <hobby>.
<He> <home> and {usually|normally} <hobby>. {There is good support from family and friends|A
  neighbour helps with the shopping|<He> has no carers and manages the housework and cooking}.
{At home|Socially,} <he> <home>. <He> is a <job> and {gets about by bus|sleeps well as a rule|has a
  varied diet|has a blue badge for parking}.
<He> <home>. {When well|On a good day}, <he> <hobby> and {drives short distances|travels by train
  to visit relatives|goes out for lunch once a week}.
<He> is a <job>, and {has financial worries|has two young relatives nearby|belongs to a faith
  group|speaks a second language at home}. <He> <hobby>.
%pool allergy
{no known drug allergies|penicillin causes a rash|intolerant of codeine, which brings on vomiting}
{allergic to trimethoprim|latex allergy|sticking plasters irritate the skin|no allergies reported}
{erythromycin upsets the stomach|hives after a cephalosporin as a child|reacts to nickel}
%pool who
<age>-year-old <man>
%pool greet
Dear {Doctor|colleague},
%pool greetline
{Thank you for asking us to see|Many thanks for referring|It was a pleasure to meet|I was glad to
  meet} this {pleasant|thoughtful|cheerful|worried|delightful|rather anxious} <who>.
I {reviewed|saw} this <who> {in clinic today|for review today|this {morning|afternoon}}.
This <who> {came back to see us|attended the clinic|kept the appointment} {today|as planned}.
%pool close
{With kind regards|Yours sincerely|With best wishes|Kind regards|Thank you for your help},
%pool explain
{We went through the findings together|I explained all this in plain terms|I drew a diagram} and
  {<he> seemed reassured|<he> asked sensible questions|<he> is content with the plan}.
{I gave written information|A leaflet was offered|<He> took notes as we talked} and {there was time
  for questions|I suggested bringing a relative next time|we agreed on a plan}.
{The choices were laid out|Risks and benefits were weighed} {fully|openly|without hurry}, and <he>
  {wishes to go ahead|would like a week to think|agreed straight away}.
<He> {had read widely online|came with a list of questions|was joined by a relative}, and {we
  covered most of it|I hope the worst fears were settled|nothing was left unanswered}.
%pool safety
{Please return at once|Come straight back|Please ring the ward} if {things get worse|the symptoms
  return} {overnight|before the next visit|rather than waiting for the appointment}.
<He> knows {whom to ring|when to call for help|what should prompt a call} and {has the ward
  number|carries a contact card|was told not to wait}.
<He> and <his> family {know whom to ring|are aware of the warning signs} and {have the ward
  number|have been told not to wait}.
%pool caller
{The patient|A relative|The patient's {sister|partner|neighbour|daughter|son|cousin}}
%pool comorbid
{There is a family history of|Several relatives have had} {type 2 diabetes|glaucoma|Parkinson's
  disease|asthma|gout|high cholesterol|kidney stones|thyroid disease|migraine}.
{Previous operations include|In the past <he> has had} {removal of the tonsils|an
  appendicectomy|removal of wisdom teeth|a hernia repair as a child|grommets for glue ear}.
{Minor problems in the past include|The records also mention} {hay fever|eczema|a broken wrist in
  childhood|acne|tinnitus|travel sickness|an ingrowing toenail|sinusitis|hives}.
<He> {has not travelled abroad recently|wears glasses for reading|has a slight hearing loss in one
  ear|is up to date with vaccinations}.
%note letter
{Outpatient clinic letter|Letter to the referring doctor}, <date>
<greet>
{Diagnosis:|Current problem:} <dx>
<greetline> <pc> <hx> <comorbid>
On examination, <ex> <ix>
<explain> <rx> <extra> <formal>
<close>
<grade>
%note advice
{Email advice request|Advice and guidance reply}
{Question from the practice|The GP writes}: I would be grateful for your {advice|opinion} about
  this <who>. <pc> <hx>
{Examination in the surgery|When I saw <him> today}: <ex>
{Reply from the specialist|Answer}: Thank you for {your message|asking}. {This sounds like|I agree
  that the most likely diagnosis is} <dx>. <ix> <rx> <extra> <recap> {Please do write again if|Let
  me know if} {there is no improvement|things change|you have any concerns}.
%note ward
{Ward round|Consultant ward round|Morning round}, <day>
<who> with <dx>.
<wr>
O/E <obs>
{Plan|Imp and plan}: {continue current treatment|no change to the drug chart|aim for discharge when
  comfortable|repeat bloods in the morning}. <extra> <recap>
{Discussed with the patient and family|Seen with the nurse in charge|Bleep the on-call team if
  concerned}.
%note call
{Record of a telephone call|Telephone advice record}, <date>
<caller> rang {this morning|shortly before lunch|late in the afternoon} about {the treatment|<his>
  care}. {The diagnosis is|This is a <who> with} <dx>.
Caller: <ask>
Nurse: <ans>
Caller: {That is a relief|Thank you, that is very helpful|All right, I will do that}. {Do we still
  need to come to the next appointment|Shall we keep the appointment next week|Is it still all
  right to come to the clinic on <day>}?
Nurse: {Yes, please do|Yes, please keep the appointment|Yes, and we look forward to seeing you}.
  <safety>
{Notes made after the call|Outcome}: <recap> <out> <extra>
%note discharge
{Discharge summary|Discharge letter}
Dear Doctor,
This <who> was {admitted on <date> with|under our care from <date> because of} <dx>. <pc>
{Past medical history|Background}: <hx>
On {admission|arrival}, <ex> <ix>
{Treatment|Progress}: <rx> <wr>
<out> <recap> <safety> <formal>
<close>
<grade>
%note handover
{Nursing handover|SBAR handover} to {the night team|the day staff|the receiving ward}
Situation: {this is|I am handing over} a <who> with <dx>.
Background: <pc> <hx> <comorbid> {Allergy status|Allergies}: <allergy>. {Treatment so
  far|Management}: <rx>
Assessment: {on the last set of observations,|when I last went round,} <obs> <wr>
Recommendation: {please|could you} {repeat the observations every four hours|make sure that the
  drug chart is rewritten|check that the blood results are back}. <extra>
%note review
{Follow-up appointment|Review clinic}, {face to face|by video}, <date>
<greetline> {<He> was last seen|The last review was} {three|four|six} months ago. <out>
To recap, the diagnosis is <dx>. <pc>
<social> <extra> <explain>
{We will|I have arranged to} see <him> again in {six weeks|three months|six months|a year}.
<grade>
%pool formal
The {patient|risks and benefits of treatment were explained and the patient} was given the
  opportunity to ask questions, and all {questions|concerns} were answered.
{The patient was advised|<He> was advised} to seek {urgent medical attention|medical advice} if the
  symptoms {get worse|do not improve} or if {any new symptoms develop|there are any other
  concerns}.
If you have any {questions|concerns} about {this letter|the treatment|the results}, please do not
  hesitate to {contact me|contact the department|call the secretary}.
The patient {is happy with|agreed with} the plan and {understands the reasons for it|was able to
  explain it in <his> own words|will contact us if there are any problems}.
The patient will be {seen again in clinic|reviewed in the outpatient clinic} in
  {two|three|four|six} {weeks|months} to {assess the response to treatment|discuss the
  results|review progress}.
{There were no other concerns|No other problems were reported} at the time of {the review|this
  assessment}, and the patient {was in good spirits|was comfortable at rest|was alert and
  orientated}.
{A copy of this letter|A copy of this record} {will be sent|has been sent} to the {patient and
  the|patient's} general practitioner for {information|their records}.
%pool recap
In summary, this is a <who> with <dx>.
{To summarise|In short}, this is a <who> {who has|who is under our care with} <dx>.
The {diagnosis|working diagnosis} {remains|is} <dx>, and the {plan|treatment plan} {has not
  changed|is set out above|was discussed with the team}.
This <who> with <dx> is {making good progress|doing as well as can be expected|making steady
  progress} and {the plan will continue as above|there is no change to the plan at present}.
"""
