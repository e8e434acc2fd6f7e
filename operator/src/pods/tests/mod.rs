mod diagnosing;
mod tracking;
