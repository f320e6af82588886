#!/usr/bin/perl
# consulctl agent: log files with rotation, JSON lines, readiness told to a service manager.
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use Socket qw(SOCK_DGRAM);
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;

sub files { my ($n) = @_; return sort glob "$n->{dir}/logs/*"; }
sub all_text { my ($n) = @_; return join '', map { Node::_slurp($_) } files($n); }

# ---- a log file

my $n = Node->new(start => 0, wait => 'agent');
mkdir "$n->{dir}/logs";
$n->write_config({ log_file => "$n->{dir}/logs/node.log" });
$n->start;
my @files = files($n);
is scalar @files, 1, 'one log file';
like $files[0], qr{/node-\d{19}\.log$}, 'named as Consul names it';
$n->stop;
my $from_log = $n->log_text =~ s/^.*?==> Log data.*?\n\n//sr;
is all_text($n), $from_log, 'it has what standard output had, to the last line';
like $from_log, qr/stopping: daemon=raftd/, "with the daemons' lines";
like $from_log, qr/agent: All daemons are ready/, 'and our own';
unlink files($n);

# ---- rotated

$n->write_config({ log_file => "$n->{dir}/logs/", log_rotate_bytes => 300, log_rotate_max_files => 2 });
$n->start;
$n->stop;
@files = files($n);
is scalar @files, 3, 'two old files and the current one are kept';
like $files[0], qr{/consul-\d{19}\.log$}, 'a directory: consul.log in it';
like all_text($n), qr/^\d{4}-.*\n\z/s, 'cut between lines';

# ---- JSON

$n->write_config({ log_file => '', log_json => JSON::PP::true });
$n->start;
$n->stop;
my @lines = split /\n/, $n->log_text =~ s/^.*?==> Log data.*?\n\n//sr;
is scalar(grep { !eval { decode_json($_)->{'@message'} } } @lines), 0, 'every line is an object';
undef $n;

# ---- under a service manager

my $dir = File::Temp->newdir;
my $manager = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "$dir/notify") or die;
$n = Node->new(wait => 'agent', env => { NOTIFY_SOCKET => "$dir/notify" });
my $received = sub {
	IO::Select->new($manager)->can_read(10) or return 'nothing';
	$manager->recv(my $text, 4096);
	return $text;
};
is $received->(), 'READY=1', 'readiness is passed on when all are ready';
my %p = $n->pids;
unlike Node::_slurp("/proc/$p{raftd}/environ"), qr/NOTIFY_SOCKET=\Q$dir\E/, "daemons talk to us, not to the manager";
$n->reload;
like $received->(), qr/^RELOADING=1\nMONOTONIC_USEC=\d+$/, 'a reload is told';
like $received->(), qr/^READY=1/, 'and its end';
$n->signal('INT');
is $received->(), 'STOPPING=1', 'the end as well';

done_testing;
