"""The base image: found in the cache, the engine or a registry, or made from Debian's archive.

base_record.py    which image a base was found to be     (light: a build that changes nothing loads only this module)
select.py         the base that the user wrote -> the image to use
engine_store.py   an image in the engine's own store
make.py           Debian suite -> base image, made once for all processes of this machine
scratch_dir.py    the directory in which a base is made, and the removal of directories that a killed process left
archive.py        the address and the state of the archive: signed package lists
debian.py         an archive state -> the files of a Debian system (mmdebstrap)
layer.py          those files -> a layer that is the same whenever the packages are the same
image_config.py   the image configuration of a base
catalog.py        the bases that were made, and what each was made from
"""
