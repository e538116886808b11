# A worker program for tests: it runs what it is told and says what came of it, in frames of type
# "log" so that the daemon's reader takes them.
#
# Each line of stdin is {"run": code}. The code is Python; the value of its last expression, or the
# name of the error that it ended with (ENOENT and the like for those of the system), is the answer.
import ast
import errno
import json
import sys


def run(code, names):
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "probe", "exec"), names)
    return eval(compile(ast.Expression(last.value), "probe", "eval"), names) if last else None


def answer(code, names):
    try:
        return {"ok": run(code, names)}
    except OSError as error:
        return {"error": errno.errorcode.get(error.errno, type(error).__name__)}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    names = {}
    for line in sys.stdin:
        said = json.dumps(answer(json.loads(line)["run"], names), default=repr)
        print(json.dumps({"type": "log", "text": said}), flush=True)


main()
