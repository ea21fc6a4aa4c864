"""The command line: one verb a file. stdout is data, all else goes to stderr; an error is one message, no traceback.

main.py       arguments -> a verb; errors -> exit codes
verbs.py      the verbs, for click
load.py       a user's file -> its images and environments
errors.py     an error -> what a person reads
interrupt.py  Ctrl-C
suggest.py    a misspelt word -> a hint
options.py    options that several verbs take
"""
