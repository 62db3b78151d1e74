# SPDX-License-Identifier: LGPL-2.1-or-later
# Translations. A new language is LANGUAGE.po (msginit makes it from `make liboutbox.pot`), its line in LINGUAS, and the lines
# of "de" below once more. POTFILES.in has the files with messages. `make update-po` brings translations up to date. A
# format that is not the one of the message that it translates stops the build.

include %D%/Makevars

translations = %D%/de.po
EXTRA_DIST += $(translations) %D%/LINGUAS %D%/Makevars %D%/POTFILES.in

if WITH_NLS
delocaledir = $(localedir)/de/LC_MESSAGES
nodist_delocale_DATA = %D%/de/LC_MESSAGES/$(OUTBOX_TEXT_DOMAIN).mo
%D%/de/LC_MESSAGES/$(OUTBOX_TEXT_DOMAIN).mo: $(srcdir)/%D%/de.po
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(MSGFMT) --check -o $@.tmp $(srcdir)/%D%/de.po && mv -f $@.tmp $@
catalogues = $(nodist_delocale_DATA)
CLEANFILES += $(catalogues)
endif

.PHONY: liboutbox.pot update-po
liboutbox.pot:
	$(AM_V_GEN)$(MKDIR_P) %D% && $(XGETTEXT) --directory=$(srcdir) --files-from=$(srcdir)/%D%/POTFILES.in \
		--from-code=UTF-8 --add-comments=TRANSLATORS: --package-name=$(PACKAGE) --package-version=$(VERSION) \
		--copyright-holder='$(COPYRIGHT_HOLDER)' --msgid-bugs-address='$(MSGID_BUGS_ADDRESS)' \
		$(XGETTEXT_OPTIONS) --sort-by-file --add-location=file --width=100 -o %D%/$@
CLEANFILES += %D%/liboutbox.pot
update-po: liboutbox.pot
	for po in $(translations); do \
		$(MSGMERGE) --quiet --update --backup=none --add-location=file --width=100 $(srcdir)/$$po %D%/liboutbox.pot || exit 1; \
	done
