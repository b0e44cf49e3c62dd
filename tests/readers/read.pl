# What Email::MIME reads of each file: a JSON line for each, as all readers here print it.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use Email::Address::XS;
use Email::MIME;
use JSON::PP;

my $json = JSON::PP->new->ascii->allow_nonref;
for my $path (@ARGV) {
    open my $file, '<:raw', $path or die "$path: $!";
    local $/;
    my $mail = Email::MIME->new(<$file>);
    my ($text, @files) = ("");
    $mail->walk_parts(sub {
        my ($part) = @_;
        return if $part->subparts;
        my $name = $part->filename;
        if (defined $name && length $name) { push @files, [ $name, sha256_hex($part->body) ]; }
        elsif (($part->content_type // 'text/plain') =~ m{^text/plain}) { $text = $part->body_str; }
    });
    my ($from) = Email::Address::XS->parse($mail->header_str('From'));
    print $json->encode([ $mail->header_str('Subject') // "", $from->phrase // "", $from->address, $text, \@files ]), "\n";
}
