"""``embedge pack``: a bundle with all that it needs to run where nothing is installed.

In general there are a :class:`.target.Target`, the packages that it needs (:mod:`.packages`) without what is never
imported (:mod:`.unused`), compiled (:mod:`.bytecode`), in an archive (:mod:`.archive`). :mod:`.aws_lambda` puts them
together as a function of AWS Lambda.
"""
