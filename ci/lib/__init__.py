"""What the verbs of ci/ share.

    command     arguments, exit statuses, progress, running other programs
    tree        the files of this checkout, and copies of it
    modules     src/modules.txt, the one list of modules
    build       CMake presets and where they build
    defects     plants a defect into a copy, runs a check there, expects its complaint
    junit       results as JUnit, and the summary of them
    coverage, cross, fuzz, mutate, bench
                what the verb of that name is made of
"""
