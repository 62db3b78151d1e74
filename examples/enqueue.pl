# SPDX-License-Identifier: LGPL-2.1-or-later
# Enqueues from Perl with plain SQL, in the transaction that changes the application's own tables:
#
#   perl enqueue.pl postgresql|mariadb ORDER NOTE DSN [USER]
#
# where DSN is DBI's. The tables are those of "outboxctl migrate".
use strict;
use warnings;
use utf8;
use DBI;

my ($database, $order, $note, $dsn, $user) = @ARGV;
my %sql = (
	postgresql => 'SELECT outbox_enqueue(?, ?::text, partition_key => ?)',
	mariadb => 'CALL outbox_enqueue(?, ?, ?, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)',
);
my %options = (AutoCommit => 0, RaiseError => 1, PrintError => 0);

# The arguments are UTF-8, and go to the server as they are.
$options{pg_enable_utf8} = 0 if $database eq 'postgresql';
my $db = DBI->connect($dsn, $user, '', \%options);
$db->do('SET NAMES utf8mb4') if $database eq 'mariadb';

# The application's own changes come here; both are there after the commit, or neither.
$db->do($sql{$database}, undef, 'orders', qq({"order": "$order", "note": "$note"}), $order);
$db->commit;
$db->disconnect;
