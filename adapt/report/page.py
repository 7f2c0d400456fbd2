def write_report(path, request, result):
    pass
