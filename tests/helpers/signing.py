"""Images with a C2PA manifest, signed with a certificate that is made on the spot."""

import io
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def created(source_type: str, action: str = "c2pa.created") -> dict[str, str]:
    """An action that made (or changed) the picture."""
    return {"action": action, "digitalSourceType": IPTC + source_type}


def signed(
    image: bytes, fmt: str, *actions: dict[str, str], generator: str = "Test Generator", edited: bool = False
) -> bytes:
    """The image with a manifest of those actions; `edited`: the picture that is given is its parent."""
    import c2pa

    manifest: dict[str, Any] = {
        "claim_generator_info": [{"name": generator, "version": "1.0"}],
        "format": f"image/{fmt}",
        "assertions": [{"label": "c2pa.actions", "data": {"actions": list(actions)}}],
    }
    certificates, key = _chain()
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificates, key, None))
    builder = c2pa.Builder(manifest)
    if edited:
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    out = io.BytesIO()
    builder.sign(signer, f"image/{fmt}", io.BytesIO(image), out)
    return out.getvalue()


@cache
def _chain() -> tuple[bytes, bytes]:
    """A leaf and its root as PEM, and the leaf's key."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = _certificate("leaf", leaf, root, ca=False) + _certificate("root", root, root, ca=True)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, leaf.private_bytes(*plain)


def _certificate(name: str, key: ec.EllipticCurvePrivateKey, root: ec.EllipticCurvePrivateKey, *, ca: bool) -> bytes:
    now = datetime.now(UTC)

    def named(who: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, who), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "t")]
        )

    builder = (
        x509.CertificateBuilder(named("root"), named(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
