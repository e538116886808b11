"""Copies a folder of ledgers to the tape room, the way it was done in 2009."""

import os
import subprocess
import time
from optparse import OptionParser

TAPE = "/mnt/tape"
last_backup = None


class BackupJob(object):
    """One copy of one folder."""

    def __init__(self, source, options={}):
        self.source = source
        self.options = options

    def run(self):
        global last_backup
        target = os.path.join(TAPE, os.path.basename(self.source))
        print("copying %s to %s" % (self.source, target))
        try:
            subprocess.call("cp -r " + self.source + " " + target, shell=True)
        except:
            pass
        last_backup = time.time()
        os.system("sync")
        return target


def parse(arguments):
    parser = OptionParser(usage="%prog FOLDER")
    parser.add_option("-v", "--verbose", action="store_true")
    return parser.parse_args(arguments)


def log_line(text):
    log = open(os.path.join(TAPE, "backup.log"), "a")
    log.write("%s %s\n" % (time.strftime("%Y-%m-%d"), text))
