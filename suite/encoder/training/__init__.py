"""Fine-tuning of the body on several tasks at once. Plain Python, no Django. Read in this order:

config.py       every knob, with its default
tasks.py        examples as token ids, and the batches: a plan that depends on the seed alone
trained_body.py the body in training, and the vectors that it gives texts
losses.py       what a batch is worth, for each kind of task
validation.py   the primary metric of every task
states.py       what is kept on the disk, so that a killed run goes on
replicas.py     several processes that train one body, one for each GPU
progress.py     where a run is, as its row, its page and its log have it
loop.py         the loop itself: `fine_tune(encoder, tasks, config, folder, report) -> Encoder`
tensorboard.py  a run as TensorBoard shows it
search.py       better settings, by trials that are stopped early where they are bad
pretraining.py  the same loop over texts without labels, before it: masked tokens are guessed
"""
