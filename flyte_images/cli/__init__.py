"""The command line: one file a verb. Data goes to stdout, everything else to stderr. An error is one message.

main.py       arguments -> a verb; errors -> exit codes
verbs.py      the list of verbs
load.py       a user's file -> its images and environments
errors.py     an error -> a message for people, or a JSON line
interrupt.py  Ctrl-C and SIGTERM and SIGTERM
suggest.py    a misspelt word -> a hint
options.py    options that several verbs take
verbose.py    -v
documents.py  the documents of --json
verbose.py    -v
documents.py  the documents of --json
"""
