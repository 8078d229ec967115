"""Ray's ``ray.util``: built on the public interface only."""
