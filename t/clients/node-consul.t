#!/usr/bin/perl
# The npm package consul: all modules of the library, as node/session.js uses them.
use strict;
use warnings;
use Test::More;
use Digest::SHA ();
use File::Copy ();
use File::Path ();
use JSON::PP;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Clients;

my @path = split /:/, $ENV{PATH};
my $node = Clients::need(nodejs => map { "$_/node" } @path);
my ($npm) = grep { -x } map { "$_/npm" } @path;
my $from = "$Node::SRCDIR/t/clients/node";
my $lock = Clients::slurp("$from/package-lock.json");
my $to = "$Node::BUILDDIR/t/clients/npm";

# The packages that package-lock.json names by their hashes, once, into the build directory.
sub install
{
	my $mark = Digest::SHA::sha256_hex($lock);

	return 1 if Clients::slurp("$to/installed") eq $mark;
	plan skip_all => 'npm is not installed' if !defined $npm;
	File::Path::make_path($to);
	File::Copy::copy("$from/$_", "$to/$_") or die "$to/$_: $!" for qw(package.json package-lock.json);
	unlink "$to/npm.log";
	my ($rc, $said) = Clients->run(dir => $to, log => 'npm', seconds => 90,
		cmd => [$npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', "--cache=$to/cache"]);
	if ($rc != 0) {
		# What was fetched and is not what the lock file says is a failure; a registry that cannot be reached is not ours.
		die $said if $said =~ /EINTEGRITY/;
		plan skip_all => 'the npm registry cannot be reached: ' . ($said =~ /npm (?:error|ERR!) code (\S+)/ ? $1 : "npm ended with $rc");
	}
	Node::write_file("$to/installed", $mark);
}

install();
my $secret = '7a1c0e5e-1111-4222-8333-944444444444';
my $n = Node->new(name => 'njs');
my $other = Node->new(name => 'other', client => 1, wait => 'http');
my $acl = Node->new(name => 'guarded', config => { acl => { enabled => JSON::PP::true, default_policy => 'deny', tokens => { initial_management => $secret } } });

exit Clients->tap(cmd => [$node, "$from/session.js", $to, $n->{ip}, $n->{ports}{http}, "$other->{ip}:$other->{ports}{serf_lan}",
	$acl->{ip}, $acl->{ports}{http}, $secret]);
